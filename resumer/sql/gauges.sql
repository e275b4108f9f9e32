-- What stands in the database now, for Prometheus. Each part reads an index, and none of them
-- more than `most` rows; what has ended for good is not counted, since it only ever grows.
select
    (
        select jsonb_object_agg(state, (
            select count(*) from (
                select from pauses where pauses.state = wanted.state limit %(most)s
            ) as bounded
        ))
        from unnest(%(states)s::text[]) as wanted (state)
    ) as pauses,
    (
        select coalesce(jsonb_object_agg(reason, n), '{}')
        from (
            select reason, count(*) as n
            from (
                select coalesce(reason_code, 'unknown') as reason
                from pauses where state = 'parked' limit %(most)s
            ) as bounded
            group by reason
        ) as parked
    ) as parked,
    (
        select extract(epoch from now() - received_at)::double precision from pauses
        where state in ('answered', 'resuming', 'failed') order by received_at limit 1
    ) as oldest_unresolved,
    (
        select extract(epoch from now() - received_at)::double precision from pauses
        where state = 'parked' order by received_at limit 1
    ) as oldest_parked,
    (
        select count(*) from (
            select from procrastinate_jobs
            where status = 'todo' and task_name = 'resume'
            and (scheduled_at is null or scheduled_at <= now()) limit %(most)s
        ) as due
    ) as queued,
    (
        -- Of those that are first in line: a look at each of them is a look at two indexes.
        select extract(epoch from now() - min(coalesce(scheduled_at, deferred_at)))::double precision
        from (
            select scheduled_at, (
                select max(at) from procrastinate_events where job_id = job.id
            ) as deferred_at
            from procrastinate_jobs as job
            where status = 'todo' and task_name = 'resume'
            and (scheduled_at is null or scheduled_at <= now())
            order by priority desc, id limit 1000
        ) as first
    ) as oldest_queued,
    (
        select count(*) from procrastinate_workers
        where last_heartbeat > now() - make_interval(secs => %(stall_seconds)s)
    ) as workers,
    (select count(*) from holds) as held,
    (
        select extract(epoch from swept_at)::double precision from sweeps
    ) as swept_at
