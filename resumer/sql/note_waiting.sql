-- Remember pauses that were seen waiting; whatever is known of them already stays, but for what
-- was asked. One that was pruned has been answered.
insert into pauses (
    pause_id, state, thread_id, interrupt_id, agent_id, asked_at, expires_at, action, question,
    next_check_at
)
select distinct on (pause_id)
    pause_id, 'waiting', thread_id, interrupt_id, agent_id, asked_at, expires_at, action::jsonb,
    question::json,
    coalesce(asked_at, now()) + make_interval(secs => %(first_check)s)
from unnest(
    %(pause_ids)s::text[], %(thread_ids)s::text[], %(interrupt_ids)s::text[],
    %(agent_ids)s::text[], %(asked_at)s::timestamptz[], %(expires_at)s::timestamptz[],
    %(actions)s::text[], %(questions)s::text[]
) as seen (pause_id, thread_id, interrupt_id, agent_id, asked_at, expires_at, action, question)
where not exists (select from pruned where digest = pause_digest(pause_id))
on conflict (pause_id) do update set
    action = coalesce(excluded.action, pauses.action), question = excluded.question
where pauses.question is null and excluded.question is not null
