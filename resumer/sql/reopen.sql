-- Take parked or failed pauses up again from the start of their retry policy, and enqueue them.
with reopened as (
    update pauses set
        state = 'answered', attempts = 0, reason_code = null, reason = null, error = null,
        outcome = null, next_attempt_at = null
    where pause_id = any(%(pause_ids)s) and state in ('parked', 'failed') and body is not null
    returning pause_id
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
