"""Pauses by the hundred thousand, as a service that has run for two months has them."""

from __future__ import annotations

from psycopg import AsyncConnection

__all__ = ["AGENTS", "fill"]

AGENTS = 40

# Nine in ten are done, the rest stands everywhere; the newest are as old as this moment.
_PAUSES = (
    """
insert into pauses (
    pause_id, state, body, fingerprint, decision, authorization_type, responder, scheme, key_id,
    deliveries, received_at, last_delivery_at, thread_id, interrupt_id, agent_id, asked_at,
    attempts, started_at, finished_at, outcome, reason_code, reason, created_at, action
)
select
    'pause_' || md5(n::text),
    state,
    case when state <> 'waiting' then convert_to('{{"pause_id": "pause_' || md5(n::text) || '"}}', 'UTF8') end,
    case when state <> 'waiting' then sha256(n::text::bytea) end,
    case when state <> 'waiting' then 'approved' end,
    'human',
    case when state <> 'waiting' then 'person' || n %% 500 || '@example.com' end,
    case when state <> 'waiting' then 'hmac' end,
    case when state <> 'waiting' then case when n %% 10 = 0 then 'aaaa0000' else 'bbbb1111' end end,
    1,
    case when state <> 'waiting' then asked + interval '5 minutes' end,
    case when state <> 'waiting' then asked + interval '5 minutes' end,
    'thread-' || n / 3,
    md5(n::text),
    'agent-' || n %% {agents},
    asked,
    0,
    case when state = 'resumed' then asked + interval '301 seconds' end,
    case when state = 'resumed' then asked + interval '300 seconds' + n %% 100 * interval '20 ms' end,
    case when state in ('resumed', 'parked', 'failed') then state end,
    case state when 'parked' then (array['raised', 'early', 'no_graph'])[1 + n %% 3]
        when 'failed' then 'raised' end,
    case when state in ('parked', 'failed') then 'the graph raised ValueError: number ' || n end,
    asked,
    jsonb_build_object('type', 'payment', 'description', 'Pay ' || n || ' EUR to ' || md5(n::text))
from (
    select n, now() - n * interval '60 days' / %(count)s as asked,
        case when n %% 100 < 90 then 'resumed' when n %% 100 < 95 then 'waiting'
            when n %% 100 = 95 then 'parked' when n %% 100 = 96 then 'failed'
            when n %% 1000 = 97 then 'resuming' when n %% 1000 = 197 then 'answered'
            else 'resumed' end as state
    from generate_series(1, %(count)s) as n
) as made
""".replace("{agents}", str(AGENTS))
    .replace("{{", "{")
    .replace("}}", "}")
)

_EVENTS = """
insert into events (pause_id, at, event, detail)
select pause_id, created_at + number * interval '1 second', event, '{}'::jsonb
from pauses, unnest(array['delivered', 'started', 'resumed']) with ordinality as e (event, number)
where state = 'resumed'
union all
select pause_id, created_at, 'parked', '{}'::jsonb from pauses where state = 'parked'
"""


async def fill(connection: AsyncConnection[dict[str, object]], count: int) -> None:
    """Make `count` pauses and their events, in the schema that `connection` is set to."""
    await connection.execute(_PAUSES.encode(), {"count": count})
    await connection.execute(_EVENTS.encode())
    await connection.execute("vacuum analyze")
