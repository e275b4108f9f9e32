-- Seconds from an answer's first delivery to the end of the resume.
select
    count(*) as count,
    percentile_cont(0.50) within group (order by seconds) as p50,
    percentile_cont(0.95) within group (order by seconds) as p95,
    percentile_cont(0.99) within group (order by seconds) as p99
from (
    select extract(epoch from finished_at - received_at)::double precision as seconds
    from pauses
    where state = 'resumed' and outcome = 'resumed' and finished_at >= %(since)s
) as ended
