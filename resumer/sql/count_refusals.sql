-- Add to this minute's counts, and forget those that no overview shows any more.
with forgotten as (
    delete from refusals where minute < now() - interval '91 days'
)
insert into refusals (minute, scheme, count)
select date_trunc('minute', now()), scheme, count
from unnest(%(schemes)s::text[], %(counts)s::integer[]) as counted (scheme, count)
on conflict (minute, scheme) do update set count = refusals.count + excluded.count
