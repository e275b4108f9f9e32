-- The pauses that ended first, of those that have ended for good before a time; locked, and
-- without those that somebody else has locked.
with ended as (
    (
        select pause_id, finished_at from pauses
        where state = 'resumed'
        and finished_at >= %(since)s and finished_at < %(before)s
        and pause_id <> all(%(kept)s)
        order by finished_at limit %(limit)s
    )
    union all
    (
        select pause_id, finished_at from pauses
        where state = 'discarded'
        and finished_at >= %(since)s and finished_at < %(before)s
        and pause_id <> all(%(kept)s)
        order by finished_at limit %(limit)s
    )
    order by finished_at limit %(limit)s
)
select pauses.pause_id, pauses.finished_at
from ended
join pauses using (pause_id)
where pauses.state in ('resumed', 'discarded') and pauses.finished_at < %(before)s
order by pauses.finished_at
for update of pauses skip locked
