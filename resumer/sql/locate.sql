-- The interrupts whose value may begin with this pause id: by the index over readable ones, whose
-- expression must stay, letter for letter, that of locate_index.sql, and by what savers noted.
-- The planner takes any range for one in two hundred rows, and would compile the statement or read
-- in parallel for that many, hence the limit: of what one pause raised there is hardly ever more.
with candidates as (
    (
        select writes.*
        from checkpoint_writes as writes
        where writes.channel = '__interrupt__'
        and substring(
            blob from nullif(position('\xa870617573655f6964'::bytea in blob), 0) + 9 for 64
        ) >= %(low)s
        and substring(
            blob from nullif(position('\xa870617573655f6964'::bytea in blob), 0) + 9 for 64
        ) < %(high)s
        order by substring(
            blob from nullif(position('\xa870617573655f6964'::bytea in blob), 0) + 9 for 64
        ) desc
        limit {most}
    )
    union
    select writes.*
    from resumer_pause_index as noted
    join checkpoint_writes as writes using (thread_id, checkpoint_ns, checkpoint_id, task_id)
    where noted.pause_id = %(pause_id)s and writes.channel = '__interrupt__'
)
select
    candidates.thread_id,
    candidates.checkpoint_ns,
    candidates.checkpoint_id,
    candidates.task_id,
    candidates.type,
    candidates.blob,
    failed.type as error_type,
    failed.blob as error_blob,
    stored.checkpoint_id is not null as stored,
    candidates.checkpoint_id > coalesce(newest.checkpoint_id, '') as ahead,
    coalesce(candidates.checkpoint_id = newest.checkpoint_id, false) and not exists (
        select from checkpoint_writes as done
        where done.thread_id = candidates.thread_id
        and done.checkpoint_ns = candidates.checkpoint_ns
        and done.checkpoint_id = candidates.checkpoint_id
        and done.task_id = candidates.task_id
        and done.channel not in (
            '__interrupt__', '__resume__', '__error__', '__error_source_node__'
        )
    ) as open
from candidates
left join checkpoints as stored using (thread_id, checkpoint_ns, checkpoint_id)
left join checkpoint_writes as failed
    on failed.thread_id = candidates.thread_id
    and failed.checkpoint_ns = candidates.checkpoint_ns
    and failed.checkpoint_id = candidates.checkpoint_id
    and failed.task_id = candidates.task_id
    and failed.channel = '__error__'
left join lateral (
    select max(checkpoints.checkpoint_id) as checkpoint_id
    from checkpoints
    where checkpoints.thread_id = candidates.thread_id
    and checkpoints.checkpoint_ns = candidates.checkpoint_ns
) as newest on true
order by candidates.thread_id, candidates.checkpoint_ns, candidates.checkpoint_id desc
