-- Take parked or failed pauses up again from the start of their retry policy, at once: a job that
-- waits for its next attempt is woken, and where there is none one is enqueued. One that runs has
-- stored how it ended, and is about to be put off: it is enqueued behind that, with a priority by
-- which it does not wait for it.
with retried as (
    update pauses set
        state = 'answered', attempts = 0, reason_code = null, reason = null, error = null,
        outcome = null, next_attempt_at = null
    where pause_id = any(%(pause_ids)s) and state in ('parked', 'failed') and body is not null
    returning pause_id
),
noted as (
    insert into events (pause_id, event, detail)
    select pause_id, %(event)s, %(detail)s::jsonb from retried
),
woken as (
    update procrastinate_jobs as job set scheduled_at = null
    from retried
    where job.lock = retried.pause_id and job.status = 'todo'
    returning job.id
),
told as (
    -- What Procrastinate's own trigger says of a new job.
    select pg_notify(
        'procrastinate_queue_v1#resume',
        json_build_object('type', 'job_inserted', 'job_id', id)::text
    ) from woken
),
queued as (
    select procrastinate_defer_jobs_v1(array_agg(row(
        'resume', 'resume', (running.id is not null)::integer, pause_id, null,
        jsonb_build_object('pause_id', pause_id), null
    )::procrastinate_job_to_defer_v1))
    from retried
    left join procrastinate_jobs as running
        on running.lock = retried.pause_id and running.status = 'doing'
    where not exists (
        select from procrastinate_jobs as job
        where job.lock = retried.pause_id and job.status = 'todo'
    )
    having count(*) > 0
)
select pause_id, (select count(*) from told) as woken from retried left join queued on true
