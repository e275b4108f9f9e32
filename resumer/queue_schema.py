"""Procrastinate's tables: made once, then brought on by its own scripts, in their order.

A script that is `pre` is for before a newer program runs, one that is `post` for when no older one
runs any more. Procrastinate keeps no record of what was applied, so we do: in `queue_scripts`.
"""

from __future__ import annotations

from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

from psycopg import errors

from .db import Connection
from .errors import DatabaseNotReady
from .schema_change import build_index, change
from .sql import statement
from .telemetry import get_logger

if TYPE_CHECKING:
    from procrastinate.schema import SchemaManager

__all__ = ["check_queue_migrated", "migrate_queue", "scripts", "waiting_scripts"]

log = get_logger()


def scripts() -> list[str]:
    """The names of the installed Procrastinate's scripts, in order."""
    return sorted(path.name for path in _folder().glob("*.sql"))


async def migrate_queue(connection: Connection, *, finish: bool = False) -> None:
    """Create the tables, or run what is missing; with `finish` also what old programs forbid.

    Raises `DatabaseNotReady` where that cannot be done while older programs run.
    """
    await connection.execute(
        "create table if not exists queue_scripts ("
        "name text primary key, applied_at timestamptz not null default now())"
    )
    done = await _done(connection)
    if not done:
        await _begin(connection)
        done = await _done(connection)
    for name in _due(scripts(), done, finish=finish):
        await change(connection, name, _script(name), _RECORD, {"names": [name]})
        log.info("queue_migrated", script=name)
    await _keep_fetching_fast(connection)


async def _keep_fetching_fast(connection: Connection) -> None:
    """Let a worker find its next job in the same time however many wait, or waited until now.

    Not a migration that is done once: a later script may make Procrastinate's functions anew.
    """
    await build_index(connection, "resumer_jobs_lock_idx", statement("queue_lock_index"))
    await connection.execute(statement("queue_never_sort"))


async def check_queue_migrated(connection: Connection) -> None:
    """Raise `DatabaseNotReady` unless the installed Procrastinate can work with the tables."""
    try:
        done = await _done(connection)
    except errors.UndefinedTable as error:
        raise DatabaseNotReady("the database is not set up: run `resumer migrate`") from error
    shipped, installed = scripts(), f"Procrastinate {version('procrastinate')}"
    if any(not _is_post(name) for name in _missing(shipped, done)):
        raise DatabaseNotReady(
            f"the queue's tables are older than {installed}: run `resumer migrate`"
        )
    if any(_is_post(name) for name in done - set(shipped)):
        raise DatabaseNotReady(
            f"`resumer migrate --finish` of a newer release has run, and {installed} does not know "
            "these tables any more: start the newer release"
        )


async def waiting_scripts(connection: Connection) -> list[str]:
    """What `resumer migrate --finish` would still run."""
    return _missing(scripts(), await _done(connection))


def _due(shipped: list[str], done: set[str], *, finish: bool) -> list[str]:
    missing = _missing(shipped, done)
    if finish:
        return missing
    due = missing[: max((n for n, name in enumerate(missing, 1) if not _is_post(name)), default=0)]
    known = {_version(name) for name in done}
    # What the release before left is done now: whoever installs the next has rolled that one out.
    if new := [name for name in due if _is_post(name) and _version(name) not in known]:
        raise DatabaseNotReady(
            "the queue's tables are several releases behind, and older programs could not go on "
            f"(after {new[0]}): stop every replica, then run `resumer migrate --finish`"
        )
    return due


async def _begin(connection: Connection) -> None:
    """Make the tables, or find out what made those that are there."""
    cursor = await connection.execute("select to_regclass('procrastinate_jobs') as found")
    row = await cursor.fetchone()
    if not row or not row["found"]:
        schema = _shipped().get_schema()
        await change(connection, "of the queue", schema, _RECORD, {"names": scripts()})
        log.info("procrastinate_schema_created")
        return
    cursor = await connection.execute(statement("queue_version"))
    row = await cursor.fetchone()
    last = row["last"] if row else None
    if last is None:
        raise DatabaseNotReady(
            "the queue's tables are older than Procrastinate 3.0: bring them there by the files of "
            "`procrastinate schema --migrations-path`, then run `resumer migrate`"
        )
    found = [*takewhile(lambda name: name <= last, scripts())]
    await connection.execute(_RECORD, {"names": found})
    log.info("queue_version_found", last=last)


async def _done(connection: Connection) -> set[str]:
    cursor = await connection.execute("select name from queue_scripts")
    return {row["name"] for row in await cursor.fetchall()}


def _missing(shipped: list[str], done: set[str]) -> list[str]:
    return [name for name in shipped if name not in done]


def _is_post(name: str) -> bool:
    return "_post_" in name


def _version(name: str) -> str:
    return name.partition("_")[0]


def _folder() -> Path:
    return Path(_shipped().get_migrations_path())


def _shipped() -> type[SchemaManager]:
    from procrastinate.schema import SchemaManager  # noqa: PLC0415 - loads all of Procrastinate

    return SchemaManager


def _script(name: str) -> LiteralString:
    return (_folder() / name).read_text(encoding="utf-8")


_RECORD: LiteralString = "insert into queue_scripts (name) select unnest(%(names)s::text[])"
