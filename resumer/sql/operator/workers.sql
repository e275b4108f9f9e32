select
    'worker ' || worker.id as name,
    worker.last_heartbeat,
    (
        select count(*) from procrastinate_jobs as job
        where job.worker_id = worker.id and job.status = 'doing' and job.task_name = 'resume'
    ) as running,
    worker.last_heartbeat > now() - make_interval(secs => %(stall_seconds)s) as is_alive
from procrastinate_workers as worker
order by is_alive desc, worker.id
limit 100
