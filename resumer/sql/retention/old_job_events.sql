-- What the queue notes of each attempt: of jobs that wait for long it only grows, and nobody reads
-- it. The page is cut before it is asked how old they are, so that recent ones cost no more.
with page as (
    select id, at from procrastinate_events order by id limit %(limit)s
)
delete from procrastinate_events
where id in (select id from page where at < now() - interval '1 hour')
