-- How a resume ended, or why it has to wait: `{assignments}` are columns that the outcome changes.
-- What has ended for good stays so. A postponement is told of when its reason is another. Whoever
-- is to be told of the outcome by the webhook is, as soon as it is stored: by a job.
with before as (
    select pause_id, reason_code from pauses
    where pause_id = %(pause_id)s and state not in ('resumed', 'discarded')
    for update
),
ended as (
    update pauses set
        {assignments},
        attempts = attempts + %(raised)s,
        action = coalesce(%(action)s, action),
        question = coalesce(%(question)s, question),
        next_attempt_at = now() + make_interval(secs => %(retry_in)s),
        finished_at = case when %(finished)s then now() end
    from before
    where pauses.pause_id = before.pause_id
    returning pauses.pause_id, before.reason_code as reason_code_before
),
noted as (
    insert into events (pause_id, event, detail)
    select pause_id, %(event)s, %(detail)s::jsonb from ended
    where %(code)s::text is null or reason_code_before is distinct from %(code)s
),
hooked as (
    select procrastinate_defer_jobs_v1(array[row(
        'hook', 'hook', 0, null, null, %(hook)s::jsonb, null
    )::procrastinate_job_to_defer_v1])
    from ended where %(hook)s::jsonb is not null
)
select pause_id from ended left join hooked on true
