-- What a thread has used, by its last checkpoint, and where in the root graph it waits.
select
    coalesce(
        array(select jsonb_object_keys(newest.checkpoint -> 'channel_versions')), '{}'
    ) as channels,
    coalesce(
        array(select jsonb_object_keys(newest.checkpoint -> 'versions_seen')), '{}'
    ) as nodes,
    asked.task_path
from (
    select checkpoints.checkpoint_id, checkpoints.checkpoint
    from checkpoints
    where checkpoints.thread_id = %(thread_id)s and checkpoints.checkpoint_ns = ''
    order by checkpoints.checkpoint_id desc
    limit 1
) as newest
left join checkpoint_writes as asked
    on asked.thread_id = %(thread_id)s
    and asked.checkpoint_ns = ''
    and asked.checkpoint_id = newest.checkpoint_id
    and asked.task_id = %(task_id)s
    and asked.channel = '__interrupt__'
