"""Changing a table that somebody uses: nobody else is held up, and what stands in the way is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from resumer import schema_change
from resumer.db import connect
from resumer.errors import DatabaseNotReady
from resumer.migrate import migrate
from resumer.schema_change import change
from resumer.sql import migrations
from tests.schemas import rows, schema

ADD = "alter table pauses add column more text"
NOTE: Any = "insert into migrations (version) values (%(version)s)"
NEWEST = migrations()[-1][0]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_change, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(schema_change, "PAUSE_SECONDS", 0.1)


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Somebody's report: it has read a pause, and never ended its transaction."""
    async with await psycopg.AsyncConnection.connect(url, application_name="report") as opened:
        await opened.execute("select count(*) from resumer.pauses")
        yield opened


async def _change(url: str, patience: float) -> None:
    async with await connect(url, schema="resumer") as connection:
        await change(connection, "999", ADD, NOTE, {"version": 999}, patience=patience)


async def test_who_stands_in_the_way_is_named(database_url: str) -> None:
    """After a while it gives up, with nothing changed, and says whom to ask."""
    async with reading(database_url) as report:
        with pytest.raises(DatabaseNotReady) as caught:
            await _change(database_url, patience=0.3)
        pid = report.info.backend_pid
    assert f"migration 999 needs a table that is in use by process {pid} of" in str(caught.value)
    assert "(report), in a transaction since 20" in str(caught.value)
    assert "run `resumer migrate` again" in str(caught.value)
    found = rows(database_url, "select max(version) as version from resumer.migrations")
    assert found == [{"version": NEWEST}]


async def test_it_goes_on_once_the_table_is_free(database_url: str) -> None:
    """Tried again and again; everybody else gets in between."""
    async with reading(database_url) as report:
        changing = asyncio.create_task(_change(database_url, patience=30))
        for number in range(10):
            statement = "insert into resumer.pauses (pause_id, state) values (%s, 'waiting')"
            async with asyncio.timeout(20):
                await asyncio.to_thread(rows, database_url, statement, f"pause_{number}")
        assert not changing.done()
        await report.commit()
        await changing
    found = rows(database_url, "select count(more) as more, count(*) as all from resumer.pauses")
    assert found == [{"more": 0, "all": 10}]


async def test_migrating_twice_at_once_behind_a_long_transaction(database_url: str) -> None:
    """Replicas that migrate at the same moment wait for each other and for the transaction."""
    rows(database_url, "drop schema resumer cascade; create schema resumer")
    [(first, script), *_] = migrations()
    rows(
        database_url,
        f"set search_path to resumer; {script}; create table migrations (version integer primary"
        " key, applied_at timestamptz not null default now());"
        f"insert into migrations (version) values ({first})",
    )
    async with reading(database_url) as report:
        both = asyncio.gather(*(migrate(database_url, database_url) for _ in range(2)))
        await asyncio.sleep(0.5)
        assert not both.done()
        await report.commit()
        await both
    done = rows(database_url, "select version from resumer.migrations order by 1")
    assert [row["version"] for row in done] == [number for number, _ in migrations()]


async def test_an_index_migration_is_built_without_a_lock(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file holds one statement; a build that was cut off is made good."""
    script: Any = "create index concurrently if not exists pauses_made_up_idx on pauses (decision)"
    monkeypatch.setattr("resumer.migrate.migrations", lambda: [*migrations(), (999, script)])
    await migrate(database_url, database_url)
    rows(
        database_url,
        "update pg_index set indisvalid = false"
        " where indexrelid = 'resumer.pauses_made_up_idx'::regclass returning 1",
    )
    rows(database_url, "delete from resumer.migrations where version = 999")
    await migrate(database_url, database_url)
    valid = (
        "select indisvalid from pg_index where indexrelid = 'resumer.pauses_made_up_idx'::regclass"
    )
    assert rows(database_url, valid) == [{"indisvalid": True}]


async def test_going_back_a_release_changes_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Migrating by an older program leaves the newer tables alone, and says that it did."""
    rows(database_url, "insert into resumer.migrations (version) values (999)")
    before = schema(database_url)
    await migrate(database_url, database_url)
    assert schema(database_url) == before
    assert "database_is_newer" in caplog.text
