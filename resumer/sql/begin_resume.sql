-- A resume is about to start, unless the pause is finished, its agent is held, or a live worker is
-- resuming another pause of the thread.
with stopped as (
    select agent_id from holds where agent_id in (%(agent_id)s, '*') limit 1
),
begun as (
    update pauses set
        state = 'resuming',
        thread_id = %(thread_id)s,
        interrupt_id = %(interrupt_id)s,
        agent_id = %(agent_id)s,
        checkpoint_id = %(checkpoint_id)s,
        checkpoint_ns = %(checkpoint_ns)s,
        action = coalesce(%(action)s, action),
        question = coalesce(%(question)s, question),
        started_at = coalesce(started_at, now()),
        reason_code = nullif(reason_code, 'held'),
        reason = case when reason_code is distinct from 'held' then reason end,
        next_attempt_at = null
    where pause_id = %(pause_id)s
    and state = any(%(unfinished)s)
    and not exists (select from stopped)
    and not exists (
        select from pauses as other
        join procrastinate_jobs as job on job.lock = other.pause_id and job.status = 'doing'
        join procrastinate_workers as worker on worker.id = job.worker_id
        where other.thread_id = %(thread_id)s
        and other.pause_id <> %(pause_id)s
        and other.state = 'resuming'
        and worker.last_heartbeat > now() - make_interval(secs => %(stall_seconds)s)
    )
    returning pause_id, attempts
),
noted as (
    insert into events (pause_id, event, detail)
    select pause_id, 'started', jsonb_build_object('attempt', attempts + 1) from begun
)
select case
    when exists (select from begun) then 'begun'
    when exists (select from stopped) then 'held'
    else 'busy'
end as begun
