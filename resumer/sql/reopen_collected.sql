-- Threads hibernate at these pauses, whose work had ended because a waiting client had taken the
-- answer: take them up. With the thread noted, they are not taken up a second time.
with reopened as (
    update pauses set state = 'answered', outcome = null, reason = null, finished_at = null
    where pause_id = any(%(pause_ids)s)
    and state = 'resumed'
    and collected_at is not null
    and thread_id is null
    returning pause_id
),
noted as (
    insert into events (pause_id, event) select pause_id, 'reopened' from reopened
),
queued as (
    select procrastinate_defer_jobs_v1(array_agg(row(
        'resume', 'resume', 0, pause_id, null, jsonb_build_object('pause_id', pause_id), null
    )::procrastinate_job_to_defer_v1))
    from reopened
    where not exists (
        select from procrastinate_jobs as job
        where job.lock = reopened.pause_id and job.status in ('todo', 'doing')
    )
    having count(*) > 0
)
select pause_id from reopened left join queued on true
