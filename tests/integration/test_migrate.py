"""Migrating: from nothing, again, from everywhere at once, over what is there, and when cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt

from looppause_sdk.testing import FakeLoopPause
from resumer.db import connect, open_pool
from resumer.errors import DatabaseNotReady
from resumer.migrate import check_migrated, migrate
from resumer.model import Raised
from resumer.sql import migrations
from resumer.threads import Threads
from tests import agents, postgres
from tests.integration.conftest import until
from tests.schemas import rows, schema

INDEXES = {"resumer_locate_idx", "resumer_waiting_idx"}
DEAD = "postgresql://user:hunter2@127.0.0.1:1/nowhere"


def valid_indexes(url: str) -> set[str]:
    """Our indexes that PostgreSQL would use."""
    found = rows(
        url,
        "select indexrelid::regclass::text as name from pg_index"
        " where indisvalid and indexrelid::regclass::text = any(%s)",
        sorted(INDEXES),
    )
    return {row["name"] for row in found}


async def test_fresh_and_repeated(empty_url: str) -> None:
    """From nothing to all there is; a second time changes nothing."""
    with pytest.raises(DatabaseNotReady, match="the database is not set up: run `resumer migrate`"):
        await _check(empty_url)
    await migrate(empty_url, empty_url)
    await _check(empty_url)
    assert valid_indexes(empty_url) == INDEXES
    first = schema(empty_url)
    await migrate(empty_url, empty_url)
    assert schema(empty_url) == first
    assert rows(empty_url, "select count(*) from resumer.sweeps") == [{"count": 1}]


async def test_eight_at_once(empty_url: str, database_url: str) -> None:
    """Replicas that migrate at the same moment take turns, and all of them succeed."""
    await asyncio.gather(*(migrate(empty_url, empty_url) for _ in range(8)))
    assert valid_indexes(empty_url) == INDEXES
    assert schema(empty_url) == schema(database_url)


async def test_over_threads_that_hibernate_already(empty_url: str) -> None:
    """Installed later, it finds the threads that hibernated before, and keeps every row."""
    graph = agents.payment_agent(agents.client_of(FakeLoopPause()), agents.Ledger().pay)
    async with agents.hibernating(graph, empty_url) as attached:
        await attached.checkpointer.setup()
        for thread_id in ("one", "two"):
            await attached.ainvoke({"amount": 5}, agents.on(thread_id))
        state = await attached.aget_state(agents.on("two"))
    written = rows(empty_url, "select * from checkpoint_writes order by 1, 2, 3, 4, 5")
    await migrate(empty_url, empty_url)
    assert rows(empty_url, "select * from checkpoint_writes order by 1, 2, 3, 4, 5") == written
    async with open_pool(empty_url, size=1, name="test") as pool:
        (found,) = await Threads(pool).locate(state.interrupts[0].value["pause_id"])
    assert (found.thread_id, found.interrupt_id) == ("two", state.interrupts[0].id)


async def test_over_an_older_checkpointer(database_url: str) -> None:
    """Tables as langgraph-checkpoint-postgres 2.0.2 left them are brought on by its own setup."""
    graph = agents.payment_agent(agents.client_of(FakeLoopPause()), agents.Ledger().pay)
    async with agents.hibernating(graph, database_url) as attached:
        await attached.ainvoke({"amount": 5}, agents.on("one"))
    before = schema(database_url)
    rows(database_url, "alter table checkpoint_writes drop column task_path")
    rows(database_url, "drop index checkpoints_thread_id_idx, checkpoint_blobs_thread_id_idx")
    rows(database_url, "drop index checkpoint_writes_thread_id_idx")
    rows(database_url, "delete from checkpoint_migrations where v > 4")
    await migrate(database_url, database_url)
    assert schema(database_url) == before
    async with agents.hibernating(graph, database_url) as attached:
        state = await attached.aget_state(agents.on("one"))
    async with open_pool(database_url, size=1, name="test") as pool:
        (found,) = await Threads(pool).locate(state.interrupts[0].value["pause_id"])
    assert found.thread_id == "one"


@pytest.mark.parametrize("index", sorted(INDEXES))
async def test_an_index_whose_build_was_cut_off_is_built_again(
    database_url: str, index: str
) -> None:
    """An invalid index would be written to and never read: it is replaced."""
    rows(
        database_url,
        "update pg_index set indisvalid = false where indexrelid = %s::regclass returning 1",
        index,
    )
    assert valid_indexes(database_url) == INDEXES - {index}
    await migrate(database_url, database_url)
    assert valid_indexes(database_url) == INDEXES


async def test_a_migration_that_was_cut_off_is_done_again(
    database_url: str, empty_url: str
) -> None:
    """What had not been committed is made up for."""
    rows(database_url, "drop index resumer_locate_idx")
    rows(database_url, "drop schema resumer cascade; create schema resumer")
    await migrate(database_url, database_url)
    await migrate(empty_url, empty_url)
    assert schema(database_url) == schema(empty_url)


async def test_an_upgrade_keeps_the_records(database_url: str, empty_url: str) -> None:
    """A database of the first version gets what it lacks, and loses nothing."""
    (version, first), *_ = migrations()
    rows(database_url, "drop schema resumer cascade; create schema resumer")
    rows(database_url, f"set search_path to resumer; {first}")
    rows(
        database_url,
        "create table resumer.migrations ("
        "version integer primary key, applied_at timestamptz not null default now())",
    )
    rows(database_url, "insert into resumer.migrations (version) values (%s)", version)
    rows(
        database_url,
        "insert into resumer.pauses (pause_id, state, body) values ('p', 'answered', '{}')",
    )
    await migrate(database_url, database_url)
    await migrate(empty_url, empty_url)
    assert schema(database_url) == schema(empty_url)
    kept = rows(database_url, "select pause_id, body, collected_at from resumer.pauses")
    assert kept == [{"pause_id": "p", "body": b"{}", "collected_at": None}]


async def test_the_checkpointer_may_live_elsewhere(
    empty_url: str, postgres_server: postgres.Server
) -> None:
    """Our schema goes to one database; the checkpointer's tables and the indexes to the other."""
    checkpoints = postgres_server.database("template1")
    try:
        await migrate(empty_url, checkpoints)
        await _check(empty_url)
        assert (valid_indexes(empty_url), valid_indexes(checkpoints)) == (set(), INDEXES)
        tables = (
            "select schemaname from pg_tables where schemaname in ('public', 'resumer') group by 1"
        )
        assert rows(empty_url, tables) == [{"schemaname": "resumer"}]
        assert rows(checkpoints, tables) == [{"schemaname": "public"}]
    finally:
        postgres_server.drop(checkpoints)


async def test_an_older_version_is_told_apart(database_url: str) -> None:
    """A database that this version's migrations have not reached says so."""
    newest = migrations()[-1][0]
    rows(database_url, "update resumer.migrations set version = version - 1")
    with pytest.raises(
        DatabaseNotReady, match=f"at version {newest - 1}, this program needs {newest}: run"
    ):
        await _check(database_url)


async def test_a_newer_version_is_fine(database_url: str) -> None:
    """During a rolling deploy, old replicas go on beside the new schema."""
    rows(database_url, "insert into resumer.migrations (version) values (9999)")
    await _check(database_url)


@pytest.mark.parametrize("ours_is_dead", [True, False])
async def test_an_unreachable_database_is_one_clear_line(
    database_url: str, ours_is_dead: bool
) -> None:
    """The error names the trouble, on one line and without the password."""
    urls = (DEAD, database_url) if ours_is_dead else (database_url, DEAD)
    with pytest.raises(DatabaseNotReady) as caught:
        await migrate(*urls)
    message = str(caught.value)
    assert message.startswith("the database does not answer: ")
    assert "127.0.0.1" in message
    assert "\n" not in message
    assert "hunter2" not in message


async def test_a_user_without_rights_is_told_what_is_missing(
    empty_url: str, database_url: str
) -> None:
    """A role that may not create is refused with what it needs; migrated already, likewise."""
    rows(empty_url, "drop role if exists limited_user")
    rows(empty_url, "create role limited_user login")
    limited = empty_url.replace("postgresql://postgres:@", "postgresql://limited_user:@")
    try:
        with pytest.raises(DatabaseNotReady, match=r"permission denied .*as a user who may create"):
            await migrate(limited, limited)
    finally:
        rows(empty_url, "drop role limited_user")


# -- the indexes are used ------------------------------------------------------------------------


THREADS = 20_000


@pytest.fixture(scope="module")
def many_interrupts(postgres_server: postgres.Server) -> Iterator[str]:
    """Many hibernating threads, each with other writes beside it; statistics up to date."""
    url = postgres_server.database()
    kind, blob = JsonPlusSerializer().dumps_typed([Interrupt({"pause_id": "pause_000000"}, id="i")])
    before, _, after = blob.partition(b"000000")
    # A checkpoint of the usual size: in a table of tiny rows reading all of them is cheaper.
    rows(
        url,
        """
        insert into checkpoints (thread_id, checkpoint_id, checkpoint, metadata)
        select 'thread-' || n, '1f0c' || lpad(n::text, 12, '0'),
            jsonb_build_object('v', repeat(md5(n::text), 40)), '{}'
        from generate_series(1, %s::int) as n
        """,
        THREADS,
    )
    rows(
        url,
        """
        insert into checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)
        select 'thread-' || n, '1f0c' || lpad(n::text, 12, '0'), 'task', -3, '__interrupt__', %s,
            %s::bytea || convert_to(lpad(n::text, 6, '0'), 'UTF8') || %s::bytea
        from generate_series(1, %s::int) as n
        union all
        select 'thread-' || n, '1f0c' || lpad(n::text, 12, '0'), 'other', 0, 'x', 'null', ''
        from generate_series(1, %s::int) as n
        """,
        *(kind, before, after, THREADS, THREADS),
    )
    rows(url, "analyze")
    yield url
    postgres_server.drop(url)


def scans(url: str) -> dict[str, int]:
    """How often the checkpointer's tables were read from end to end, and our indexes used."""
    tables = "select relname as name, seq_scan as n from pg_stat_user_tables where relname ~ '^checkpoint'"
    indexes = "select indexrelname, idx_scan from pg_stat_user_indexes where indexrelname in ('resumer_locate_idx', 'resumer_waiting_idx')"
    return {row["name"]: row["n"] for row in rows(url, f"{tables} union all {indexes}")}


async def scans_after(before: dict[str, int], url: str) -> dict[str, int]:
    """The same once a scan was counted: a session tells of its own only when it has ended."""

    async def counted() -> dict[str, int] | None:
        found = scans(url)
        return found if found != before else None

    found: dict[str, int] = await until(counted, seconds=30)
    return found


async def test_locating_reads_the_index(many_interrupts: str) -> None:
    """One pause among all of them is found through the index, and no table is read through."""
    before = scans(many_interrupts)
    async with open_pool(many_interrupts, size=1, name="test") as pool:
        (found,) = await Threads(pool).locate("pause_012345")
    assert (found.thread_id, found.stored, found.ahead) == ("thread-12345", True, False)
    assert await scans_after(before, many_interrupts) == {
        **before,
        "resumer_locate_idx": before["resumer_locate_idx"] + 1,
    }


@pytest.mark.parametrize("after", [0, THREADS // 2, THREADS - 50])
async def test_a_page_of_the_sweep_reads_the_index(many_interrupts: str, after: int) -> None:
    """A page costs its own rows, wherever it begins: no table is read through."""
    before = scans(many_interrupts)
    last = Raised(f"1f0c{after:012}", "￿", "", pending=False, interrupts=())
    async with open_pool(many_interrupts, size=1, name="test") as pool:
        page = await Threads(pool).raised_after(last, limit=100)
    assert page[0].thread_id == f"thread-{after + 1}"
    assert len(page) == min(100, THREADS - after)
    assert all(raised.pending for raised in page)
    assert await scans_after(before, many_interrupts) == {
        **before,
        "resumer_waiting_idx": before["resumer_waiting_idx"] + 1,
    }


async def _check(url: str) -> None:
    async with await connect(url, schema="resumer") as connection:
        await check_migrated(connection)
