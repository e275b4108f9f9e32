"""The pool for the checkpointer's side: ours, or the one that a host hands in."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.rows import dict_row

from .db import Connection, Pool, connect, open_pool
from .errors import SettingsError
from .migrate import check_checkpoints_migrated
from .readiness import require
from .savers import HostsOwn
from .settings import Settings
from .telemetry import get_logger

__all__ = ["open_checkpoints"]

UNFIT = (
    "the pool that is handed in makes connections without {}, which LangGraph needs: give it "
    'kwargs={{"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0}}'
)
ELSEWHERE = (
    "the pool that is handed in is of another database than RESUMER_CHECKPOINT_URL, which is "
    "RESUMER_DATABASE_URL if it is not set: give checkpoint_url, the URL of the pool's database"
)

log = get_logger()


@asynccontextmanager
async def open_checkpoints(settings: Settings, given: HostsOwn) -> AsyncIterator[Pool]:
    """A pool of the checkpointer's database; the host's is left open.

    Raises `SettingsError` if the host's cannot be used, `DatabaseNotReady` if `resumer migrate` has
    not run.
    """
    async with _pool(settings, given) as pool:
        await require(pool, check_checkpoints_migrated)
        yield pool


@asynccontextmanager
async def _pool(settings: Settings, given: HostsOwn) -> AsyncIterator[Pool]:
    url = settings.checkpoints_at
    if given.pool is None:
        async with open_pool(url, size=settings.concurrency + 2, name="checkpoints") as ours:
            yield ours
        return
    if given.pool.max_size < settings.concurrency:
        log.warning(
            "checkpoint_pool_small",
            connections=given.pool.max_size,
            concurrency=settings.concurrency,
            advice="runs wait for each other: give the pool a larger max_size",
        )
    await require(given.pool, _refuse_unfit)
    await require(given.pool, lambda connection: _refuse_elsewhere(connection, url))
    yield given.pool


async def _refuse_unfit(connection: Connection) -> None:
    wanted = {
        "autocommit=True": connection.autocommit,
        "row_factory=dict_row": connection.row_factory is dict_row,
    }
    if missing := [setting for setting, has_it in wanted.items() if not has_it]:
        raise SettingsError([UNFIT.format(" and ".join(missing))])


async def _refuse_elsewhere(theirs: Connection, url: str) -> None:
    """A thread is locked by way of our URL: for everybody, that has to be where the thread is."""
    key = secrets.randbits(62)
    async with await connect(url) as ours:
        await ours.execute("select pg_advisory_lock(%s)", (key,))
        cursor = await theirs.execute("select pg_try_advisory_xact_lock(%s) as had", (key,))
        row = await cursor.fetchone()
    if row and row["had"]:
        raise SettingsError([ELSEWHERE])
