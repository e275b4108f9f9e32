"""Databases of hibernating threads, as many as are wanted: the checkpointer's own tables, filled.

Each thread hibernated once, at a random pause of a random thread; every other has moved on since.
Checkpoints hold no state: nothing that is measured on them reads it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt
from psycopg import sql

from resumer.db import Connection, connect
from resumer.migrate import INDEXES, migrate
from resumer.sql import statement

__all__ = [
    "Filled",
    "checkpoint_id_of",
    "evict",
    "fill",
    "interrupt",
    "pause_id_of",
    "timed",
    "warm",
]

TABLES = ("checkpoints", "checkpoint_writes")
STEP = 250_000
PLACE = "pause_" + "0" * 32

# What is loaded in bulk, and with what PostgreSQL is then measured: as it is shipped.
LOADING = {
    "synchronous_commit": "off",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}
SORTING = "set maintenance_work_mem = '2GB'; set max_parallel_maintenance_workers = 2"

FILL = """
with ids as (
    select n, 'pause_' || md5('p' || n) as pause_id, md5('t' || n)::uuid::text as thread_id,
        md5('k' || n)::uuid::text as task_id, lpad(to_hex(n), 10, '0') as hex
    from generate_series(%(first)s::int, %(last)s::int) as n
),
named as (
    select *, '1f1e68e5-' || substr(hex, 1, 4) || '-6' || substr(hex, 5, 3) || '-8'
        || substr(hex, 8, 3) || '-' || lpad(n::text, 12, '0') as checkpoint_id
    from ids
),
stored as (
    insert into checkpoints (thread_id, checkpoint_id, type, checkpoint, metadata)
    select thread_id, checkpoint_id, 'json', '{"v": 4, "channel_versions": {}}', '{}'
    from named
),
moved_on as (
    insert into checkpoints (thread_id, checkpoint_id, type, checkpoint, metadata)
    select thread_id, 'f' || checkpoint_id, 'json', '{"v": 4, "channel_versions": {}}', '{}'
    from named where n %% 2 = 1
)
insert into checkpoint_writes
    (thread_id, checkpoint_id, task_id, idx, channel, type, blob, task_path)
select thread_id, checkpoint_id, task_id, -3, '__interrupt__', 'msgpack',
    overlay(%(blob)s::bytea placing convert_to(pause_id, 'UTF8') from %(at)s::int), ''
from named
"""
NUMBERED = """
select 'pause_' || md5('p' || n) as pause_id from unnest(%(numbers)s::int[]) as n
"""
CHECKPOINT_ID = """
select '1f1e68e5-' || substr(hex, 1, 4) || '-6' || substr(hex, 5, 3) || '-8'
    || substr(hex, 8, 3) || '-' || lpad(%(number)s::text, 12, '0') as checkpoint_id
from lpad(to_hex(%(number)s::int), 10, '0') as hex
"""
OF_THE_CHECKPOINTER = """
select coalesce(
    'alter table ' || conrelid::regclass || ' add ' || pg_get_constraintdef(pg_constraint.oid),
    pg_get_indexdef(indexrelid)
) as build,
coalesce(
    'alter table ' || conrelid::regclass || ' drop constraint ' || quote_ident(conname),
    'drop index ' || indexrelid::regclass
) as remove
from pg_index left join pg_constraint on conindid = indexrelid
where indrelid = any(%(tables)s::regclass[])
"""
READ = """
select pg_relation_filepath(oid) as path from pg_class where relname = 'checkpoint_writes'
union all
select pg_relation_filepath(indexrelid) from pg_index where indrelid = any(%(tables)s::regclass[])
"""
SIZES = """
select relname as name, pg_table_size(oid) as heap, pg_indexes_size(oid) as indexes
from pg_class where oid = any(%(tables)s::regclass[])
"""


@dataclass(frozen=True)
class Filled:
    """One database with so many threads, and what was seen when it was made."""

    server_url: str
    threads: int
    seen: Mapping[str, Any]

    @property
    def url(self) -> str:
        """The database."""
        return _at(self.server_url, _name(self.threads))


async def fill(
    server_url: str, threads: int, before_indexes: Callable[[str], Awaitable[Any]]
) -> dict[str, Any]:
    """Make a database of so many threads; return what was seen, and what `before_indexes` did.

    That is awaited when all is filled but our indexes, which are built then.
    """
    name, seen = _name(threads), dict[str, Any]()
    url = _at(server_url, name)
    async with await connect(server_url) as connection:
        await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        await _configure(connection, LOADING)
    await migrate(url, url)
    async with await connect(url) as connection:
        seen["fill_s"] = await timed(lambda: _load(url, connection, threads), digits=1)
        await _configure(connection, {})
    seen["before"] = await before_indexes(url)
    async with await connect(url) as connection:
        seen["indexes"] = {name: await _build(connection, name) for name in INDEXES}
        await connection.execute("vacuum (analyze) checkpoint_writes")
        await connection.execute("checkpoint")
        seen["mb"] = await _sizes(connection)
    return seen


def _name(threads: int) -> str:
    return f"bench_{threads}"


def _at(server_url: str, name: str) -> str:
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


async def pause_id_of(connection: Connection, numbers: list[int]) -> list[str]:
    """The pauses of the threads of these numbers."""
    cursor = await connection.execute(NUMBERED, {"numbers": numbers})
    return [row["pause_id"] for row in await cursor.fetchall()]


async def checkpoint_id_of(connection: Connection, number: int) -> str:
    """The checkpoint that the thread of this number hibernated at."""
    cursor = await connection.execute(CHECKPOINT_ID, {"number": number})
    [row] = await cursor.fetchall()
    return str(row["checkpoint_id"])


def interrupt(pause_id: str) -> Interrupt:
    """What a gate raises."""
    value = {
        "pause_id": pause_id,
        "agent_id": "procurement",
        "action": {"type": "payment", "description": "Pay 12450 EUR to Acme Corp"},
        "action_digest": "0" * 64,
        "expires_at": "2026-11-23T16:16:10Z",
    }
    return Interrupt(value=value, id="0" * 32)


def evict(folder: Path) -> None:
    """Have the machine forget what it holds in memory of these files, which nobody has open."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def warm(folder: Path, url: str) -> None:
    """Read once what finding a pause reads, so that the machine has it in memory."""
    async with await connect(url) as connection:
        cursor = await connection.execute(READ, {"tables": list(TABLES)})
        rows = await cursor.fetchall()
    for row in rows:
        await asyncio.to_thread(_read, folder, row["path"])


def _read(folder: Path, path: str) -> None:
    for segment in [folder / path, *folder.glob(f"{path}.*")]:
        with segment.open("rb") as file:
            while file.read(1 << 20):
                pass


async def timed(work: Callable[[], Awaitable[Any]], *, digits: int) -> float:
    """Seconds."""
    start = time.perf_counter()
    await work()
    return round(time.perf_counter() - start, digits)


async def _load(url: str, connection: Connection, threads: int) -> None:
    """Without indexes, which are built afterwards: the checkpointer's own here."""
    cursor = await connection.execute(OF_THE_CHECKPOINTER, {"tables": list(TABLES)})
    indexes = await cursor.fetchall()
    for index in indexes:
        await connection.execute(index["remove"].encode())
    starts = iter(range(0, threads, STEP))
    await asyncio.gather(*(_insert(url, starts, threads) for _ in range(2)))
    await connection.execute(SORTING)
    for index in indexes:
        if "resumer_" not in index["build"]:
            await connection.execute(index["build"].encode())
    for table in TABLES:
        await connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))


async def _insert(url: str, starts: Any, threads: int) -> None:
    blob = JsonPlusSerializer().dumps_typed([interrupt(PLACE)])[1]
    at = blob.index(PLACE.encode()) + 1
    async with await connect(url) as connection:
        for start in starts:
            last = min(start + STEP, threads) - 1
            values = {"first": start, "last": last, "blob": blob, "at": at}
            await connection.execute(FILL, values)


async def _configure(connection: Connection, settings: dict[str, str]) -> None:
    await connection.execute("alter system reset all")
    for name, value in settings.items():
        setting = sql.SQL("alter system set {} = {}")
        await connection.execute(setting.format(sql.Identifier(name), sql.Literal(value)))
    await connection.execute("select pg_reload_conf()")


async def _build(connection: Connection, name: str) -> dict[str, float]:
    """One of our indexes, as `resumer migrate` builds it."""
    script = statement(f"{name}_index")
    seconds = await timed(lambda: connection.execute(script), digits=1)
    cursor = await connection.execute(
        "select pg_relation_size(%s::regclass) as size", (f"resumer_{name}_idx",)
    )
    [row] = await cursor.fetchall()
    return {"build_s": seconds, "mb": _mb(row["size"])}


async def _sizes(connection: Connection) -> dict[str, Any]:
    cursor = await connection.execute(SIZES, {"tables": list(TABLES)})
    rows = await cursor.fetchall()
    return {row["name"]: {"heap": _mb(row["heap"]), "indexes": _mb(row["indexes"])} for row in rows}


def _mb(size: int) -> float:
    return round(size / 1_048_576, 1)
