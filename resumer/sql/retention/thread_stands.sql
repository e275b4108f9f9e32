-- How much there is of a thread, and whether anything in it waits for an answer: an interrupt
-- that nothing has answered, whose checkpoint is the last of its graph or is not stored yet.
select
    (select count(*) from checkpoints where thread_id = %(thread_id)s) as checkpoints,
    (
        select count(distinct checkpoint_ns) from checkpoints where thread_id = %(thread_id)s
    ) as namespaces,
    exists (
        select from checkpoint_writes as asking
        where asking.thread_id = %(thread_id)s
        and asking.channel = '__interrupt__'
        and not exists (
            select from checkpoints as later
            where later.thread_id = asking.thread_id
            and later.checkpoint_ns = asking.checkpoint_ns
            and later.checkpoint_id > asking.checkpoint_id
        )
        and not exists (
            select from checkpoint_writes as done
            where done.thread_id = asking.thread_id
            and done.checkpoint_ns = asking.checkpoint_ns
            and done.checkpoint_id = asking.checkpoint_id
            and done.task_id = asking.task_id
            and done.channel not in (
                '__interrupt__', '__resume__', '__error__', '__error_source_node__'
            )
        )
    ) as waits
