-- Remember pauses that were seen waiting; whatever is known of them already stays.
insert into pauses (
    pause_id, state, thread_id, interrupt_id, agent_id, asked_at, expires_at, next_check_at
)
select
    pause_id, 'waiting', thread_id, interrupt_id, agent_id, asked_at, expires_at,
    coalesce(asked_at, now()) + make_interval(secs => %(first_check)s)
from unnest(
    %(pause_ids)s::text[], %(thread_ids)s::text[], %(interrupt_ids)s::text[],
    %(agent_ids)s::text[], %(asked_at)s::timestamptz[], %(expires_at)s::timestamptz[]
) as seen (pause_id, thread_id, interrupt_id, agent_id, asked_at, expires_at)
on conflict (pause_id) do nothing
