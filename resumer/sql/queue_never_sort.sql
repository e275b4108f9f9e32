-- Planned while the statistics knew of few jobs, the statement that takes the first one reads and
-- sorts all that wait, each time. There is an index in that order.
do $do$
declare
    fetching regprocedure;
begin
    for fetching in
        select oid from pg_proc
        where pronamespace = current_schema()::regnamespace
        and starts_with(proname, 'procrastinate_fetch_job')
        and 'enable_sort=off' <> all(coalesce(proconfig, '{}'))
    loop
        execute format('alter function %s set enable_sort = off', fetching);
    end loop;
end
$do$
