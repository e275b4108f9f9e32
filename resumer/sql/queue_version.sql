-- The last of Procrastinate's scripts that made its tables what they are, where nobody wrote it
-- down: told by what each has changed. Null before the last script of 3.0.
with parts (name, source) as (
    select proname, string_agg(prosrc, '') from pg_proc
    where pronamespace = current_schema::regnamespace group by proname
    union all
    select relname, '' from pg_class where relnamespace = current_schema::regnamespace
), changes (script, made, unmade, containing) as (values
    ('03.00.00_50', 'procrastinate_trigger_function_status_events_insert_v1', null, ''),
    ('03.01.00_01', 'procrastinate_workers', null, ''),
    ('03.01.00_50', 'procrastinate_fetch_job_v2', 'procrastinate_fetch_job_v1', ''),
    ('03.02.00_01', 'procrastinate_defer_jobs_v1', null, ''),
    ('03.02.00_50', 'procrastinate_defer_periodic_job_v2', 'procrastinate_defer_job_v1', ''),
    ('03.03.00_01', 'procrastinate_fetch_job_v2', null, 'other_jobs.priority > jobs.priority'),
    ('03.04.00_01', 'procrastinate_retry_job_v2', null, ''),
    ('03.04.00_50', 'procrastinate_trigger_function_status_events_update_v1', null, '''retried''')
)
-- Every later script's name is greater than this one's with a character after all others.
select max(script) || '~' as last
from changes join parts on name = made
where position(containing in source) > 0
    and not exists (select from parts as gone where gone.name = unmade)
