-- What is due and not taken up, and when the sweep was last through.
select
    (
        select count(*) from procrastinate_jobs
        where status = 'todo' and task_name = 'resume'
        and (scheduled_at is null or scheduled_at <= now())
    ) as queued,
    swept_at,
    full_at
from sweeps
