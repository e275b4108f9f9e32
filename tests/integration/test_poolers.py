"""Behind PgBouncer: session mode carries everything, transaction mode is refused by everybody."""

from __future__ import annotations

import asyncio

import httpx
import psycopg
import pytest

from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.db import open_pool
from resumer.errors import PoolerRefused
from resumer.migrate import migrate
from tests.commands import resumer
from tests.integration.conftest import Rig, until

pytestmark = pytest.mark.pgbouncer

TOKEN = "a-token-to-wait-with"
LISTENING = "select 1 as one from pg_stat_activity where query ilike 'listen %%#resume%%'"


async def test_session_mode_carries_everything(rig: Rig, pgbouncer: dict[str, str]) -> None:
    """Migrating, receiving, LISTEN, locating, locking and resuming, with one URL for all of it."""
    behind = Rig(pgbouncer["session"], rig.looppause, rig.ledger)
    async with behind.stack:
        await migrate(behind.url, behind.url)
        [pause_id] = await behind.hibernate(behind.agent(), "t1")
        receiver = await behind.receiver(read_tokens=[TOKEN])
        await until(lambda: rig.rows(LISTENING), seconds=20)
        async with _client(receiver) as http:
            path, headers = f"/pauses/{pause_id}?wait=20", {"Authorization": f"Bearer {TOKEN}"}
            waiting = asyncio.create_task(http.get(path, headers=headers))
            reply = await http.post("/webhooks/looppause", json=rig.looppause.decide(pause_id))
            assert (reply.status_code, (await waiting).status_code) == (202, 200)
        await behind.until_state(pause_id, "resumed", seconds=30)
    assert len(rig.ledger.payments) == 1


async def test_a_session_that_is_lent_again_has_no_schema_of_ours(
    pgbouncer: dict[str, str],
) -> None:
    """The pooler resets what we set before it gives the server's session to somebody else."""
    async with (
        open_pool(pgbouncer["session"], size=2, schema="resumer", name="ours") as pool,
        pool.connection() as connection,
    ):
        assert await _search_path(connection) == "resumer"
    async with await psycopg.AsyncConnection.connect(pgbouncer["session"]) as theirs:
        assert await _search_path(theirs) == '"$user", public'


@pytest.mark.parametrize("worker", [True, False])
async def test_transaction_mode_is_refused_at_the_start(
    pgbouncer: dict[str, str], looppause: FakeLoopPause, worker: bool
) -> None:
    """Web as worker, with what to do; sessions that others get next are left as they were."""
    url = pgbouncer["transaction"]
    receiver = Resumer(database_url=url, signing_secrets=[looppause.secret], worker=worker)
    with pytest.raises(PoolerRefused, match=r"transaction mode.*session mode"):
        async with receiver.running():
            pass
    async with await psycopg.AsyncConnection.connect(url, prepare_threshold=None) as theirs:
        assert await _search_path(theirs) == '"$user", public'


async def test_migrating_is_refused_before_it_locks(
    pgbouncer: dict[str, str], database_url: str
) -> None:
    """A lock taken through the pooler would stay with it, and end every later migration."""
    ended = await resumer("migrate", "--database-url", pgbouncer["transaction"])
    assert (ended.code, "session mode" in ended.err) == (2, True), ended
    with psycopg.connect(database_url) as connection:
        locks = "select count(*) from pg_locks where locktype = 'advisory'"
        assert connection.execute(locks).fetchone() == (0,)


async def test_a_database_for_checkpoints_behind_a_transaction_pooler(
    rig: Rig, pgbouncer: dict[str, str]
) -> None:
    """The worker locks threads there: its URL must be direct, whatever the agents use."""
    with pytest.raises(PoolerRefused, match="thread locks"):
        await rig.receiver(checkpoint_url=pgbouncer["transaction"])


def _client(receiver: Resumer) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(receiver.app)
    return httpx.AsyncClient(transport=transport, base_url="http://resumer", timeout=30)


async def _search_path(connection: psycopg.AsyncConnection[object]) -> str:
    cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
    await cursor.execute("show search_path")
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])
