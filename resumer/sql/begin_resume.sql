update pauses set
    state = 'resuming',
    thread_id = %(thread_id)s,
    interrupt_id = %(interrupt_id)s,
    agent_id = %(agent_id)s,
    started_at = coalesce(started_at, now()),
    next_attempt_at = null
where pause_id = %(pause_id)s
and state = any(%(unfinished)s)
and not exists (
    select from pauses as other
    join procrastinate_jobs as job on job.lock = other.pause_id and job.status = 'doing'
    join procrastinate_workers as worker on worker.id = job.worker_id
    where other.thread_id = %(thread_id)s
    and other.pause_id <> %(pause_id)s
    and other.state = 'resuming'
    and worker.last_heartbeat > now() - make_interval(secs => %(stall_seconds)s)
)
returning pause_id
