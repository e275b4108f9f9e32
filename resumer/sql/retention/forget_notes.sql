-- Notes of pauses whose interrupt is gone lead nowhere.
delete from resumer_pause_index as noted
where noted.thread_id = %(thread_id)s
and not exists (
    select from checkpoint_writes as asking
    where asking.thread_id = noted.thread_id
    and asking.checkpoint_ns = noted.checkpoint_ns
    and asking.checkpoint_id = noted.checkpoint_id
    and asking.task_id = noted.task_id
    and asking.channel = '__interrupt__'
)
