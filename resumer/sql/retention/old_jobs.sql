-- Jobs that ended and are still there: ours are deleted as they end, so somebody cancelled these.
delete from procrastinate_jobs
where id in (
    select id from procrastinate_jobs as job
    where job.status in ('succeeded', 'failed', 'cancelled', 'aborted')
    and not exists (
        select from procrastinate_events as event
        where event.job_id = job.id and event.at > now() - interval '1 hour'
    )
    order by id limit %(limit)s
)
