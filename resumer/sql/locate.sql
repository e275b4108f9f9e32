-- The interrupts whose value may begin with this pause id. The expression must stay, letter for
-- letter, that of the index in locate_index.sql.
select
    writes.thread_id,
    writes.checkpoint_ns,
    writes.checkpoint_id,
    writes.task_id,
    writes.type,
    writes.blob,
    stored.checkpoint_id is not null as stored,
    writes.checkpoint_id > coalesce(newest.checkpoint_id, '') as ahead
from checkpoint_writes as writes
left join checkpoints as stored using (thread_id, checkpoint_ns, checkpoint_id)
left join lateral (
    select max(checkpoints.checkpoint_id) as checkpoint_id
    from checkpoints
    where checkpoints.thread_id = writes.thread_id
    and checkpoints.checkpoint_ns = writes.checkpoint_ns
) as newest on true
where writes.channel = '__interrupt__'
and substring(
    writes.blob from nullif(position('\xa870617573655f6964'::bytea in writes.blob), 0) + 9 for 64
) >= %(low)s
and substring(
    writes.blob from nullif(position('\xa870617573655f6964'::bytea in writes.blob), 0) + 9 for 64
) < %(high)s
order by writes.thread_id, writes.checkpoint_ns, writes.checkpoint_id desc
