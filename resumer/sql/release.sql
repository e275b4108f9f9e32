-- Let an agent's threads go on ('*' stands for the hold on all of them), those that had to wait
-- for it at once.
with released as (
    delete from holds where agent_id = %(agent_id)s returning agent_id
),
freed as (
    update pauses set reason_code = null, reason = null, next_attempt_at = null
    from released
    where pauses.reason_code = 'held'
    and pauses.state in ('answered', 'resuming', 'failed')
    and released.agent_id in (pauses.agent_id, '*')
    returning pauses.pause_id
),
woken as (
    update procrastinate_jobs as job set scheduled_at = null
    from freed
    where job.lock = freed.pause_id and job.status = 'todo'
    returning job.id
),
queued as (
    -- As in retry.sql: behind jobs that are about to be put off.
    select procrastinate_defer_jobs_v1(array_agg(row(
        'resume', 'resume', 1, pause_id, null, jsonb_build_object('pause_id', pause_id), null
    )::procrastinate_job_to_defer_v1))
    from freed
    where exists (
        select from procrastinate_jobs as job
        where job.lock = freed.pause_id and job.status = 'doing'
    )
    and not exists (
        select from procrastinate_jobs as job
        where job.lock = freed.pause_id and job.status = 'todo'
    )
    having count(*) > 0
),
told as (
    select pg_notify(
        'procrastinate_queue_v1#resume',
        json_build_object('type', 'job_inserted', 'job_id', id)::text
    ) from woken
)
select (select count(*) from freed) as waiting, (select count(*) from told) as woken
from released left join queued on true
