-- Answered pauses that no job works on: enqueue one for each. `skip locked` leaves alone those
-- that a worker is about to finish.
with lost as (
    select pause_id from pauses
    where state in ('answered', 'resuming', 'failed')
    and received_at < now() - make_interval(secs => %(older_than)s)
    and not exists (
        select from procrastinate_jobs as job
        where job.lock = pauses.pause_id and job.status in ('todo', 'doing')
    )
    order by received_at
    limit %(limit)s
    for update skip locked
),
queued as (
    select procrastinate_defer_jobs_v1(array_agg(row(
        'resume', 'resume', 0, pause_id, null, jsonb_build_object('pause_id', pause_id), null
    )::procrastinate_job_to_defer_v1)) from lost having count(*) > 0
)
select pause_id from lost left join queued on true
