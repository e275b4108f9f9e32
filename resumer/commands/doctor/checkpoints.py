"""The checkpointer's database: its tables, and the indexes that find a pause's thread."""

from __future__ import annotations

from importlib import import_module

from psycopg import errors

from resumer.db import Connection
from resumer.errors import DatabaseNotReady
from resumer.migrate import INDEXES, check_checkpoints_migrated

from .finding import Finding, fail, ok

__all__ = ["check_checkpointer", "check_indexes"]

MIGRATE = "run `resumer migrate`, with RESUMER_CHECKPOINT_URL if it is another database"


async def check_checkpointer(connection: Connection) -> Finding:
    """Whether the checkpointer's tables are those of the installed version."""
    needed = _needed_version()
    try:
        cursor = await connection.execute("select max(v) as version from checkpoint_migrations")
        row = await cursor.fetchone()
        await check_checkpoints_migrated(connection)
    except (errors.UndefinedTable, DatabaseNotReady):
        return fail("checkpointer", "its tables, or ours beside them, do not exist", MIGRATE)
    found = row["version"] if row else None
    if found is None or found < needed:
        return fail("checkpointer", f"at version {found}, this program needs {needed}", MIGRATE)
    return ok("checkpointer", f"version {found}, current")


async def check_indexes(connection: Connection) -> Finding:
    """Whether each index exists and is read: a build that was cut off leaves a useless one."""
    names = [f"resumer_{name}_idx" for name in INDEXES]
    cursor = await connection.execute(
        "select name, indisvalid as valid from unnest(%s::text[]) as name"
        " left join pg_index on indexrelid = to_regclass(name)",
        (names,),
    )
    state = {row["name"]: row["valid"] for row in await cursor.fetchall()}
    missing = [name for name in names if state[name] is None]
    invalid = [name for name in names if not state[name]]
    if missing:
        return fail("indexes", f"{' and '.join(missing)}: not there", MIGRATE)
    if invalid:
        found = f"{' and '.join(invalid)}: not valid, a build was cut off"
        return fail("indexes", found, f"{MIGRATE}; it builds them anew")
    return ok("indexes", f"{' and '.join(names)}: valid")


def _needed_version() -> int:
    # By name: only resumer.threads may depend on LangGraph, and this looks at what is installed.
    saver = import_module("langgraph.checkpoint.postgres.base").BasePostgresSaver
    return len(saver.MIGRATIONS) - 1
