-- Interrupts of nested graphs that still wait inside tasks of root graphs: of several that one task
-- raised, its root graph shows the first. `offset 0` keeps the planner to one thread at a time.
select root.thread_id, root.task_id, nested.type, nested.blob
from unnest(%(thread_ids)s::text[], %(task_ids)s::text[]) as root (thread_id, task_id)
cross join lateral (
    select writes.type, writes.blob
    from checkpoint_writes as writes
    where writes.thread_id = root.thread_id
    and writes.checkpoint_ns > ''
    and split_part(split_part(writes.checkpoint_ns, '|', 1), ':', 2) = root.task_id
    and writes.channel = '__interrupt__'
    and writes.checkpoint_id = (
        select max(checkpoints.checkpoint_id)
        from checkpoints
        where checkpoints.thread_id = writes.thread_id
        and checkpoints.checkpoint_ns = writes.checkpoint_ns
    )
    and not exists (
        select from checkpoint_writes as done
        where done.thread_id = writes.thread_id
        and done.checkpoint_ns = writes.checkpoint_ns
        and done.checkpoint_id = writes.checkpoint_id
        and done.task_id = writes.task_id
        and done.channel not in (
            '__interrupt__', '__resume__', '__error__', '__error_source_node__'
        )
    )
    order by writes.checkpoint_ns
    offset 0
) as nested
