-- Remember pauses that were seen waiting; whatever is known of them already stays, but for what
-- the person was shown.
insert into pauses (
    pause_id, state, thread_id, interrupt_id, agent_id, asked_at, expires_at, action, next_check_at
)
select distinct on (pause_id)
    pause_id, 'waiting', thread_id, interrupt_id, agent_id, asked_at, expires_at, action::jsonb,
    coalesce(asked_at, now()) + make_interval(secs => %(first_check)s)
from unnest(
    %(pause_ids)s::text[], %(thread_ids)s::text[], %(interrupt_ids)s::text[],
    %(agent_ids)s::text[], %(asked_at)s::timestamptz[], %(expires_at)s::timestamptz[],
    %(actions)s::text[]
) as seen (pause_id, thread_id, interrupt_id, agent_id, asked_at, expires_at, action)
on conflict (pause_id) do update set action = excluded.action
where pauses.action is null and excluded.action is not null
