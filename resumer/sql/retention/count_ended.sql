-- How many pauses have ended for good before a time, as far as counting goes.
select count(*) as count from (
    (
        select from pauses where state = 'resumed' and finished_at < %(before)s limit %(most)s
    )
    union all
    (
        select from pauses where state = 'discarded' and finished_at < %(before)s limit %(most)s
    )
) as ended
