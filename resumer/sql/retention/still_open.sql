-- Which of these pauses an interrupt still waits for, in the checkpointer's tables: found as in
-- locate.sql, whose expression stands here letter for letter, and not decoded. One too many is
-- only kept longer. `offset 0` keeps the planner to one interrupt at a time.
select distinct asked.pause_id
from unnest(%(pause_ids)s::text[], %(lows)s::bytea[], %(highs)s::bytea[])
    as asked (pause_id, low, high)
cross join lateral (
    select thread_id, checkpoint_ns, checkpoint_id, task_id
    from checkpoint_writes as writes
    where writes.channel = '__interrupt__'
    and substring(
        blob from nullif(position('\xa870617573655f6964'::bytea in blob), 0) + 9 for 64
    ) >= asked.low
    and substring(
        blob from nullif(position('\xa870617573655f6964'::bytea in blob), 0) + 9 for 64
    ) < asked.high
    union all
    select thread_id, checkpoint_ns, checkpoint_id, task_id
    from resumer_pause_index as noted
    where noted.pause_id = asked.pause_id
) as found
where not exists (
    select from checkpoints as later
    where later.thread_id = found.thread_id
    and later.checkpoint_ns = found.checkpoint_ns
    and later.checkpoint_id > found.checkpoint_id
    offset 0
)
and exists (
    select from checkpoint_writes as asking
    where asking.thread_id = found.thread_id
    and asking.checkpoint_ns = found.checkpoint_ns
    and asking.checkpoint_id = found.checkpoint_id
    and asking.task_id = found.task_id
    and asking.channel = '__interrupt__'
    offset 0
)
and not exists (
    select from checkpoint_writes as done
    where done.thread_id = found.thread_id
    and done.checkpoint_ns = found.checkpoint_ns
    and done.checkpoint_id = found.checkpoint_id
    and done.task_id = found.task_id
    and done.channel not in (
        '__interrupt__', '__resume__', '__error__', '__error_source_node__'
    )
    offset 0
)
union
select pause_id from looppause_flows.pauses
where pause_id = any(%(pause_ids)s) and ended_at is null
