"""A database of each older schema, with a pause in every state, is brought on and goes on."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from looppause_sdk.proof import verify
from resumer.migrate import migrate
from resumer.sql import migrations
from tests.commands import resumer
from tests.integration.conftest import Rig, until

VERSIONS = [version for version, _ in migrations()]

# As the first release wrote them. Parameters that a state does not need are null.
PAUSE = """
insert into pauses (
    pause_id, state, body, fingerprint, decision, authorization_type, responder, channel,
    responded_at, scheme, key_id, delivery_id, deliveries, received_at, last_delivery_at,
    thread_id, interrupt_id, agent_id, asked_at, expires_at, next_check_at, attempts, started_at,
    finished_at, next_attempt_at, outcome, reason_code, reason, error
)
select %(pause_id)s, %(state)s, body, %(fingerprint)s, 'approved', 'human', 'alice@example.com',
    'web', '2026-01-01T00:00:00Z', 'hmac', 'hmac-1', gen_random_uuid(), 1, now(), now(),
    %(pause_id)s, 'an interrupt', 'procurement', now() - interval '1 hour',
    now() + interval '1 hour', now() + interval '1 hour', %(attempts)s, %(started_at)s,
    %(finished_at)s, null, %(outcome)s, %(reason_code)s, %(reason)s, %(error)s
from (select %(body)s::bytea) as given (body)
"""
WAITING = """
insert into pauses (pause_id, state, thread_id, interrupt_id, agent_id, asked_at, next_check_at)
values (%s, 'waiting', 'a thread', 'an interrupt', 'procurement', now(), now() + interval '1 hour')
"""
JOB = """
with dead as (
    insert into procrastinate_workers (last_heartbeat)
    select now() - interval '1 hour' where %(status)s = 'doing' returning id
)
insert into procrastinate_jobs (task_name, queue_name, lock, args, status, worker_id)
values ('resume', 'resume', %(pause_id)s, jsonb_build_object('pause_id', %(pause_id)s::text),
    %(status)s::procrastinate_job_status, (select id from dead))
"""
# What each later version added, as it would have been filled.
SINCE: dict[int, str] = {
    2: "update pauses set collected_at = now() where state = 'resumed'",
    3: """
        update pauses set action = '{"type": "payment"}', checkpoint_id = 'c', checkpoint_ns = '';
        insert into events (pause_id, event) select pause_id, 'delivered' from pauses;
        insert into audit (who, action, target) select 'ada', 'retry', pause_id from pauses;
        insert into holds (agent_id, held_by) values ('another agent', 'ada');
        insert into refusals (minute, scheme, count) values (now(), 'hmac', 3)
    """,
    4: "update pauses set traceparent = '00-' || repeat('a', 32) || '-' || repeat('b', 16) || '-01'",
}
ANSWERED: dict[str, dict[str, Any]] = {
    "answered": {"job": "todo"},
    "resuming": {"job": "doing", "started_at": "2026-01-01"},
    "failed": {"job": "todo", "started_at": "2026-01-01", "attempts": 1, "error": "ValueError"},
    "parked": {"reason_code": "raised", "reason": "the graph raised", "attempts": 6},
    "resumed": {"outcome": "finished", "finished_at": "2026-01-01", "attempts": 1},
    "discarded": {"finished_at": "2026-01-01"},
}
NOTHING = dict.fromkeys(["started_at", "finished_at", "outcome", "reason_code", "reason", "error"])


def states_of(version: int) -> list[str]:
    """The states a pause could have in that schema."""
    return ["waiting", *(state for state in ANSWERED if version >= 3 or state != "discarded")]


def _as_of(connection: psycopg.Connection, version: int) -> None:
    """Our schema as that version's `resumer migrate` left it."""
    connection.execute("drop schema resumer cascade")
    connection.execute("create schema resumer")
    connection.execute("set search_path to resumer")
    connection.execute(SchemaManager.get_schema())
    connection.execute(
        "create table migrations ("
        "version integer primary key, applied_at timestamptz not null default now())"
    )
    for number, script in migrations():
        if number <= version:
            connection.execute(script)
            connection.execute("insert into migrations (version) values (%s)", (number,))


def _fill(
    connection: psycopg.Connection, version: int, proofs: dict[str, Any], secret: str
) -> None:
    for state, proof in proofs.items():
        pause_id, given = proof["pause_id"], {**ANSWERED.get(state, {})}
        if state == "waiting":
            connection.execute(WAITING, (pause_id,))
            continue
        body = json.dumps(proof).encode()
        values = {"pause_id": pause_id, "state": state, "body": body, "attempts": 0, **NOTHING}
        status = given.pop("job", None)
        fingerprint = verify(body, secrets=[secret]).fingerprint
        connection.execute(PAUSE, {**values, "fingerprint": fingerprint, **given})
        if status:
            connection.execute(JOB, {"pause_id": pause_id, "status": status})
    for number, script in SINCE.items():
        if number <= version:
            connection.execute(script.encode())


async def _proofs(rig: Rig, version: int) -> dict[str, Any]:
    """A thread that hibernates, and its genuine answer, for each state."""
    found = {}
    for state in states_of(version):
        [pause_id] = await rig.hibernate(rig.agent(), f"thread-{state}")
        found[state] = rig.looppause.decide(pause_id)
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_schema_is_brought_on_with_all_that_is_in_it(rig: Rig, version: int) -> None:
    """All of it is read as it was; what was not finished is resumed once, what was is left."""
    proofs = await _proofs(rig, version)
    with psycopg.connect(rig.url, autocommit=True) as connection:
        _as_of(connection, version)
        _fill(connection, version, proofs, rig.looppause.secret)
    pauses = {state: proof["pause_id"] for state, proof in proofs.items()}
    await migrate(rig.url, rig.url)
    assert await _listed(rig.url) == {pause_id: state for state, pause_id in pauses.items()}

    receiver = await rig.receiver(stall_seconds=1)
    for state in pauses:
        reply = await rig.deliver(receiver, proofs[state])
        assert reply.json()["status"] == ("accepted" if state == "waiting" else "duplicate")
    assert await receiver.retry([pauses["parked"]]) == [pauses["parked"]]
    for state in set(pauses) - {"discarded"}:
        await rig.until_state(pauses[state], "resumed", seconds=40)
    await until(lambda: _no_job(rig), seconds=40)
    finished = {"discarded", "resumed"}
    assert {paid["pause_id"] for paid in rig.ledger.payments} == {
        pause_id for state, pause_id in pauses.items() if state not in finished
    }
    assert len(rig.ledger.payments) == len(set(pauses) - finished)
    assert await _listed(rig.url) == {
        pause_id: state if state in finished else "resumed" for state, pause_id in pauses.items()
    }


async def _listed(url: str) -> dict[str, str]:
    """What `resumer pauses` shows."""
    ended = await resumer("pauses", "--json", "--database-url", url)
    assert ended.code == 0, ended
    return {row["pause_id"]: row["state"] for row in ended.rows}


async def _no_job(rig: Rig) -> bool:
    query = "select 1 as one from procrastinate_jobs where task_name = 'resume'"
    return not await rig.rows(query)
