-- One page of interrupts, oldest first, and for each whether it is pending: its checkpoint is
-- stored and the last of its thread, and its task has written nothing but signs of waiting.
-- The page is cut before that is asked, so that history costs no more than its rows; `offset 0`
-- keeps the planner to one interrupt at a time.
with page as materialized (
    select thread_id, checkpoint_id, task_id, type, blob
    from checkpoint_writes
    where channel = '__interrupt__' and checkpoint_ns = ''
    and (checkpoint_id, thread_id, task_id) > (%(checkpoint_id)s, %(thread_id)s, %(task_id)s)
    order by checkpoint_id, thread_id, task_id
    limit %(limit)s
)
select
    page.*,
    exists (
        select from checkpoints as stored
        where stored.thread_id = page.thread_id
        and stored.checkpoint_ns = ''
        and stored.checkpoint_id = page.checkpoint_id
        offset 0
    )
    and not exists (
        select from checkpoints as later
        where later.thread_id = page.thread_id
        and later.checkpoint_ns = ''
        and later.checkpoint_id > page.checkpoint_id
        offset 0
    )
    and not exists (
        select from checkpoint_writes as done
        where done.thread_id = page.thread_id
        and done.checkpoint_ns = ''
        and done.checkpoint_id = page.checkpoint_id
        and done.task_id = page.task_id
        and done.channel not in (
            '__interrupt__', '__resume__', '__error__', '__error_source_node__'
        )
        offset 0
    ) as pending
from page
order by checkpoint_id, thread_id, task_id
