"""Least privilege: real users, each with the roles of deploy/grants.sql and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import errors

from resumer import Resumer
from resumer.errors import DatabaseNotReady
from resumer.migrate import migrate
from tests import postgres
from tests.commands import resumer as command
from tests.integration.conftest import Rig, until

GRANTS = Path(__file__).parents[2] / "deploy" / "grants.sql"
USERS = {
    "grants_web": "resumer_web",
    "grants_worker": "resumer_worker",
    "grants_operator": "resumer_operator",
    "grants_reader": "resumer_reader",
    "grants_desk": "resumer_web, resumer_operator",
}
TOKEN = "ada:sixteen-characters-or-more"
As = Callable[[str], str]


def run(url: str, query: str) -> None:
    """Run SQL as whoever the URL names."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query.encode())


def _as_user(url: str) -> As:
    """The URL of a user who has one of the roles; the grants are given twice."""
    for _ in range(2):
        run(url, GRANTS.read_text())
    for user, roles in USERS.items():
        run(
            url,
            f"""do $$ begin
                if not exists (select from pg_roles where rolname = '{user}') then
                    create role {user} login password 'a-password' in role {roles};
                end if;
            end $$""",
        )
    return lambda name: _with_user(url, f"grants_{name}")


@pytest.fixture
def as_user(database_url: str) -> As:
    return _as_user(database_url)


@pytest.fixture(scope="module")
def attacked(postgres_server: postgres.Server) -> Iterator[As]:
    """One database for all that is refused, with an answer in it."""
    url = postgres_server.database()
    run(
        url,
        "insert into resumer.pauses (pause_id, state, body, decision)"
        " values ('p', 'answered', '{}', 'rejected')",
    )
    yield _as_user(url)
    postgres_server.drop(url)


def _with_user(url: str, user: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:a-password@{host}").geturl()


def receiver(rig: Rig, url: str, *, worker: bool, **settings: Any) -> Resumer:
    """A receiver whose database user is the URL's."""
    return Resumer(
        {"procurement": rig.agent()},
        database_url=url,
        signing_secrets=[rig.looppause.secret],
        worker=worker,
        drain_seconds=5.0,
        retry_delays=(),
        reconcile_seconds=1.0,
        **settings,
    )


async def test_each_process_does_its_work_under_its_own_role(rig: Rig, as_user: As) -> None:
    """Proofs go in under one role, threads on under another, and a third acts and may not read them."""
    web = receiver(rig, as_user("web"), worker=False, read_tokens=[TOKEN], metrics_public=True)
    worker = receiver(rig, as_user("worker"), worker=True)
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)
    other = rig.looppause.sign({**proof, "decision": "rejected"})
    async with web.running():
        answers = [await rig.deliver(web, sent) for sent in (proof, proof, other)]
        assert [answer.json()["status"] for answer in answers] == [
            "accepted", "duplicate", "conflict",
        ]  # fmt: skip
        async with worker.running():
            await rig.until_state(pause_id, "resumed", seconds=30)
            # Its first sweep has read, and its housekeeping has gone through all tables.
            await until(
                lambda: rig.rows("select 1 from sweeps where swept_at is not null"), seconds=30
            )
        headers = {"Authorization": f"Bearer {TOKEN.partition(':')[2]}"}
        transport = httpx.ASGITransport(web.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as http:
            for path in (
                "/metrics",
                "/api/overview",
                f"/api/pauses/{pause_id}",
                f"/pauses/{pause_id}?wait=1",
            ):
                assert (await http.get(path, headers=headers)).status_code == 200, path
    assert len(rig.ledger.payments) == 1


async def test_an_operator_acts_with_commands(rig: Rig, as_user: As) -> None:
    """Hold, retry, discard and release need no more than the operator's role; looking needs less."""
    web = receiver(rig, as_user("web"), worker=False)
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    async with web.running():
        await rig.deliver(web, rig.looppause.decide(pause_id))
    await rig.rows(
        "update pauses set state = 'parked', outcome = 'parked', reason_code = 'no_node'"
    )
    env = {"RESUMER_DATABASE_URL": as_user("operator")}
    for words in (
        ["hold", "procurement"], ["retry", pause_id, "--yes"], ["release", "procurement"],
        ["explain", pause_id], ["audit", "export"],
    ):  # fmt: skip
        ended = await command(*words, env=env)
        assert ended.code == 0, (words, ended)
    await rig.rows(
        "update pauses set state = 'parked', outcome = 'parked', reason_code = 'no_node'"
    )
    assert (await command("discard", pause_id, "--yes", env=env)).code == 0
    looking = {"RESUMER_DATABASE_URL": as_user("reader")}
    for words in (["pauses"], ["explain", pause_id], ["audit", "export"]):
        assert (await command(*words, env=looking)).code == 0
    refused = await command("hold", "procurement", env=looking)
    assert (refused.code, "may look and not act" in refused.err) == (2, True)
    await rig.rows(
        "insert into pauses (pause_id, state, body, fingerprint, finished_at)"
        " values ('gone', 'discarded', '{}', 'x', now() - interval '1 day')"
    )
    prune = ("prune", "--older-than", "0s", "--without-export", "--yes")
    refused = await command(*prune, env=env)
    assert (refused.code, "the database user may not do that" in refused.err) == (2, True)
    pruned = await command(*prune, env={"RESUMER_DATABASE_URL": as_user("worker")})
    assert (pruned.code, await rig.pause("gone")) == (0, None), pruned


@pytest.mark.parametrize(
    "user, query",
    [
        ("web", "select * from checkpoints"),
        ("web", "select * from checkpoint_writes"),
        ("web", "insert into checkpoint_writes select * from checkpoint_writes"),
        ("web", "update resumer.pauses set state = 'resumed'"),
        ("web", "update resumer.pauses set body = 'other', state = 'answered'"),
        ("web", "update resumer.pauses set decision = 'approved'"),
        ("web", "update resumer.pauses set outcome = 'resumed'"),
        ("web", "insert into resumer.pauses (pause_id, state, body) values ('x', 'resumed', '')"),
        ("web", "delete from resumer.pauses"),
        ("web", "insert into resumer.audit (who, action, target) values ('a', 'b', 'c')"),
        ("web", "insert into resumer.holds (agent_id, held_by) values ('*', 'x')"),
        ("web", "update resumer.procrastinate_jobs set status = 'failed'"),
        ("web", "delete from resumer.procrastinate_jobs"),
        ("web", "select * from looppause_flows.flows"),
        ("worker", "update resumer.audit set who = 'somebody else'"),
        ("worker", "insert into resumer.migrations (version) values (1000)"),
        ("worker", "drop table checkpoints"),
        ("operator", "select * from checkpoints"),
        ("operator", "update resumer.pauses set body = 'other'"),
        ("operator", "update resumer.audit set who = 'somebody else'"),
        ("operator", "delete from resumer.audit"),
        ("reader", "select * from checkpoints"),
        ("reader", "update resumer.pauses set state = 'discarded'"),
        ("reader", "insert into resumer.holds (agent_id, held_by) values ('*', 'x')"),
        ("desk", "select * from checkpoints"),
        ("desk", "update resumer.pauses set outcome = null, thread_id = 'other'"),
    ],
)
def test_what_a_role_may_not_do(attacked: As, user: str, query: str) -> None:
    """The database says no, whatever the process that was broken into wants."""
    with pytest.raises(errors.InsufficientPrivilege):
        run(attacked(user), query)


@pytest.mark.parametrize("user", ["web", "worker", "operator", "reader"])
async def test_nobody_but_the_owner_migrates(attacked: As, user: str) -> None:
    """Migrating says whom to ask."""
    with pytest.raises(DatabaseNotReady, match="does not let us"):
        await migrate(attacked(user), attacked(user))


async def test_a_web_process_that_may_not_act_says_so(rig: Rig, as_user: As) -> None:
    """The API of a web user answers 409, and with the operator's role as well it acts."""
    statuses = {}
    for user in ("web", "desk"):
        served = receiver(rig, as_user(user), worker=False, act_tokens=[TOKEN])
        transport = httpx.ASGITransport(served.app)
        headers = {"Authorization": f"Bearer {TOKEN.partition(':')[2]}"}
        async with (
            served.running(),
            httpx.AsyncClient(transport=transport, base_url="http://web", headers=headers) as http,
        ):
            statuses[user] = (await http.put("/api/agents/procurement/hold", json={})).status_code
    assert statuses == {"web": 409, "desk": 200}


def test_the_first_run_needs_no_tables(postgres_server: postgres.Server) -> None:
    """Where the checkpointer has a database of its own, the rest is left out."""
    url = postgres_server.database("template1")
    run(url, GRANTS.read_text())
    postgres_server.drop(url)
