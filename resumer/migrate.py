"""Bring both databases to what this version needs: safe to repeat, safe from several replicas."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

from psycopg import errors, sql

from looppause_sdk import flow_tables

from .db import SCHEMA, Connection, connect
from .errors import DatabaseNotReady
from .pooler import refuse_transaction_pooler
from .queue_schema import check_queue_migrated, migrate_queue
from .schema_change import build_index, change
from .sql import migrations, statement
from .telemetry import get_logger

__all__ = ["check_checkpoints_migrated", "check_migrated", "migrate"]

LOCK = 0x4C50_5245_5355_4D45  # "LPRESUME": one migration at a time in a database
INDEXES = ("locate", "waiting")

log = get_logger()


async def migrate(database_url: str, checkpoint_url: str, *, finish: bool = False) -> None:
    """Create or upgrade our schema, Procrastinate's, the checkpointer's, the flows' and indexes.

    Programs of the release before go on meanwhile; `finish` takes away what only they needed.
    Raises `DatabaseNotReady` if a database does not answer, does not let us, or has a table that
    somebody else does not let go of; `PoolerRefused` behind a transaction pooler.
    """
    try:
        await _migrate_ours(database_url, finish=finish)
        await _migrate_checkpoints(checkpoint_url)
    except errors.InsufficientPrivilege as error:
        raise DatabaseNotReady(
            f"the database does not let us ({error.diag.message_primary}): run `resumer migrate` "
            "as a user who may create schemas, tables and indexes"
        ) from error


async def _migrate_ours(url: str, *, finish: bool) -> None:
    async with _alone(url) as connection:
        await connection.execute(
            sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA))
        )
    async with _alone(url, schema=SCHEMA) as connection:
        await migrate_queue(connection, finish=finish)
        await _migrate_pauses(connection)


async def _migrate_checkpoints(url: str) -> None:
    # LangGraph takes half a second to import, and whoever only checks needs none of it.
    from .savers import create_checkpoint_tables  # noqa: PLC0415 - as above

    async with _alone(url) as connection:
        await create_checkpoint_tables(connection)
        await connection.execute(statement("pause_index"))
        async with connection.transaction():
            await connection.execute(flow_tables.statement("create_tables"))
        for index in INDEXES:
            await build_index(connection, f"resumer_{index}_idx", statement(f"{index}_index"))


async def check_migrated(connection: Connection) -> None:
    """Raise `DatabaseNotReady` unless `resumer migrate` of this version has run."""
    try:
        cursor = await connection.execute("select max(version) as version from migrations")
        row = await cursor.fetchone()
    except errors.UndefinedTable as error:
        raise DatabaseNotReady("the database is not set up: run `resumer migrate`") from error
    found = row["version"] if row else None
    needed = migrations()[-1][0]
    if found is None or found < needed:
        raise DatabaseNotReady(
            f"the database is at version {found}, this program needs {needed}: "
            "run `resumer migrate`"
        )
    await check_queue_migrated(connection)


async def check_checkpoints_migrated(connection: Connection) -> None:
    """Raise `DatabaseNotReady` unless the checkpointer's database has what locating needs."""
    cursor = await connection.execute(
        "select to_regclass('resumer_pause_index') is not null"
        " and to_regclass('looppause_flows.pauses') is not null as migrated"
    )
    row = await cursor.fetchone()
    if not row or not row["migrated"]:
        raise DatabaseNotReady(
            "the checkpointer's database is not set up: run `resumer migrate` with "
            "RESUMER_CHECKPOINT_URL set to it"
        )


@asynccontextmanager
async def _alone(url: str, schema: str | None = None) -> AsyncIterator[Connection]:
    connection = await connect(url, schema=schema)
    async with connection:
        await refuse_transaction_pooler(url, connection)  # our lock would stay with the pooler
        # Tried again and again rather than waited for: a waiting statement holds a snapshot, and
        # CREATE INDEX CONCURRENTLY in the process that has the lock would wait for that.
        while not await _try_lock(connection):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        yield connection


async def _try_lock(connection: Connection) -> bool:
    cursor = await connection.execute("select pg_try_advisory_lock(%s) as taken", (LOCK,))
    row = await cursor.fetchone()
    return bool(row and row["taken"])


async def _migrate_pauses(connection: Connection) -> None:
    await connection.execute(
        "create table if not exists migrations ("
        "version integer primary key, applied_at timestamptz not null default now())"
    )
    cursor = await connection.execute("select version from migrations")
    applied = {row["version"] for row in await cursor.fetchall()}
    newest = migrations()[-1][0]
    if applied and max(applied) > newest:
        log.warning("database_is_newer", version=max(applied), this_program_knows=newest)
    for version, script in migrations():
        if version not in applied:
            await _apply(connection, version, script)
            log.info("migrated", version=version)


async def _apply(connection: Connection, version: int, script: LiteralString) -> None:
    record: LiteralString = "insert into migrations (version) values (%(version)s)"
    if index := _CONCURRENTLY.search(script):
        await build_index(connection, index[1], script)
        await connection.execute(record, {"version": version})
    else:
        await change(connection, f"{version:03}", script, record, {"version": version})


# An index of a table that may be large is a migration of its own, outside any transaction.
_CONCURRENTLY = re.compile(r"create (?:unique )?index concurrently if not exists (\w+)", re.ASCII)
