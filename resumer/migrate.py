"""Bring both databases to what this version needs: safe to repeat, safe from several replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

from procrastinate.schema import SchemaManager
from psycopg import errors, sql

from looppause_sdk import flow_tables

from .db import SCHEMA, Connection, connect
from .errors import DatabaseNotReady
from .sql import migrations, statement
from .telemetry import get_logger
from .threads import create_checkpoint_tables

__all__ = ["check_checkpoints_migrated", "check_migrated", "migrate"]

LOCK = 0x4C50_5245_5355_4D45  # "LPRESUME": one migration at a time in a database
INDEXES = ("locate", "waiting")

log = get_logger()


async def migrate(database_url: str, checkpoint_url: str) -> None:
    """Create or upgrade our schema, Procrastinate's, the checkpointer's, the flows' and indexes.

    Raises `DatabaseNotReady` if a database does not answer, or does not let us.
    """
    try:
        await _migrate_ours(database_url)
        await _migrate_checkpoints(checkpoint_url)
    except errors.InsufficientPrivilege as error:
        raise DatabaseNotReady(
            f"the database does not let us ({error.diag.message_primary}): run `resumer migrate` "
            "as a user who may create schemas, tables and indexes"
        ) from error


async def _migrate_ours(url: str) -> None:
    async with _alone(url) as connection:
        await connection.execute(
            sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA))
        )
    async with _alone(url, schema=SCHEMA) as connection:
        await _migrate_procrastinate(connection)
        await _migrate_pauses(connection)


async def _migrate_checkpoints(url: str) -> None:
    async with _alone(url) as connection:
        await create_checkpoint_tables(connection)
        await connection.execute(statement("pause_index"))
        async with connection.transaction():
            await connection.execute(flow_tables.statement("create_tables"))
        for index in INDEXES:
            await _build_index(connection, f"resumer_{index}_idx", statement(f"{index}_index"))


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
        # Tried again and again rather than waited for: a waiting statement holds a snapshot, and
        # CREATE INDEX CONCURRENTLY in the process that has the lock would wait for that.
        while not await _try_lock(connection):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        yield connection


async def _try_lock(connection: Connection) -> bool:
    cursor = await connection.execute("select pg_try_advisory_lock(%s) as taken", (LOCK,))
    row = await cursor.fetchone()
    return bool(row and row["taken"])


async def _migrate_procrastinate(connection: Connection) -> None:
    cursor = await connection.execute("select to_regclass('procrastinate_jobs') as found")
    row = await cursor.fetchone()
    if row and row["found"]:
        return
    async with connection.transaction():
        await connection.execute(SchemaManager.get_schema())
    log.info("procrastinate_schema_created")


async def _migrate_pauses(connection: Connection) -> None:
    await connection.execute(
        "create table if not exists migrations ("
        "version integer primary key, applied_at timestamptz not null default now())"
    )
    cursor = await connection.execute("select version from migrations")
    applied = {row["version"] for row in await cursor.fetchall()}
    for version, script in migrations():
        if version not in applied:
            async with connection.transaction():
                await connection.execute(script)
                await connection.execute("insert into migrations (version) values (%s)", (version,))
            log.info("migrated", version=version)


async def _build_index(connection: Connection, name: str, script: LiteralString) -> None:
    cursor = await connection.execute(
        "select indisvalid as valid from pg_index where indexrelid = to_regclass(%s)", (name,)
    )
    row = await cursor.fetchone()
    if row and row["valid"]:
        return
    if row:  # a build that was cut off leaves an index that is written to and never read
        await connection.execute(sql.SQL("drop index concurrently {}").format(sql.Identifier(name)))
    log.info("building_index", index=name)
    await connection.execute(script)
