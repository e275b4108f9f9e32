"""Changing tables that others use: never wait long for one, since all others wait behind us."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import LiteralString

from psycopg import errors, sql

from .db import SCHEMA, Connection
from .errors import DatabaseNotReady
from .telemetry import get_logger

__all__ = ["build_index", "change"]

LOCK_SECONDS = 2.0
PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 60.0

log = get_logger()


async def change(
    connection: Connection,
    name: str,
    script: LiteralString,
    record: LiteralString,
    values: Mapping[str, object],
    *,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Run `script`, then `record` with `values`, in one transaction.

    Where a table is in use for longer than a moment, lets others by and tries again. Raises
    `DatabaseNotReady` after `patience` seconds, saying who uses it; nothing is changed then.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            async with connection.transaction():
                await connection.execute(
                    "select set_config('lock_timeout', %s, true)", (f"{LOCK_SECONDS}s",)
                )
                await connection.execute(script)
                await connection.execute(record, values)
        except errors.LockNotAvailable as error:
            users = await _users_of_our_tables(connection)
            if asyncio.get_running_loop().time() >= deadline:
                raise DatabaseNotReady(
                    f"migration {name} needs a table that is in use by {users}: end that, and run "
                    "`resumer migrate` again; nothing was changed by this one"
                ) from error
            log.warning("migration_waits", migration=name, behind=users)
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def build_index(connection: Connection, name: str, script: LiteralString) -> None:
    """Build the index `name` by `script`, concurrently; again if a build was cut off.

    Waits for transactions that are open, however long, and holds nobody up meanwhile.
    """
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


async def _users_of_our_tables(connection: Connection) -> str:
    cursor = await connection.execute(_USERS, {"schema": SCHEMA})
    rows = await cursor.fetchall()
    return ", ".join(row["who"] for row in rows) or "a session that has just ended"


_USERS: LiteralString = """
select format('process %%s of %%s (%%s), in a transaction since %%s', pid,
    coalesce(usename, 'somebody'), coalesce(nullif(application_name, ''), 'unnamed'),
    coalesce(date_trunc('second', xact_start)::text, 'a time we may not see')) as who
from pg_stat_activity
where pid <> pg_backend_pid() and pid in (
    select pid from pg_locks join pg_class on pg_class.oid = relation
    where granted and relnamespace = to_regnamespace(%(schema)s)
        and database = (select oid from pg_database where datname = current_database())
)
order by xact_start nulls last
limit 3
"""
