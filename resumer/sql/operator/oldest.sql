-- The answer that has waited longest for its thread.
select pause_id from (
    (
        select pause_id, received_at from pauses
        where state in ('answered', 'resuming', 'failed') order by received_at limit 1
    )
    union all
    (
        select pause_id, received_at from pauses
        where state = 'parked' order by received_at limit 1
    )
) as oldest
order by received_at limit 1
