-- How many pauses stand where; of those resumed, the period's.
select state, count(*) as n from pauses
where state in ('waiting', 'answered', 'resuming', 'failed', 'parked', 'discarded')
group by state
union all
select 'resumed', count(*) from pauses where state = 'resumed' and finished_at >= %(since)s
