-- What happened, by the time it happened at: three walks over indexes, added up by bucket.
with happened as (
    select date_bin(%(width)s, received_at, '2000-01-01 00:00:00+00') as start,
        count(*) as decisions, 0 as resumes, 0 as parked
    from pauses where received_at >= %(since)s group by 1
    union all
    select date_bin(%(width)s, finished_at, '2000-01-01 00:00:00+00'), 0, count(*), 0
    from pauses where state = 'resumed' and finished_at >= %(since)s group by 1
    union all
    select date_bin(%(width)s, at, '2000-01-01 00:00:00+00'), 0, 0, count(*)
    from events where event = 'parked' and at >= %(since)s group by 1
)
select
    start, sum(decisions)::bigint as decisions, sum(resumes)::bigint as resumes,
    sum(parked)::bigint as parked
from happened group by start
