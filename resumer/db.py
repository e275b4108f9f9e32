"""Connections: the pools, and how they are set up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from .errors import DatabaseNotReady

__all__ = ["SCHEMA", "Pool", "connect", "is_transient", "open_pool"]

SCHEMA = "resumer"
RECONNECT_SECONDS = 5.0  # then at once again: the pool's own backoff would outlast the outage

Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]


async def connect(url: str, *, schema: str | None = None) -> Connection:
    """One connection outside any pool, in autocommit mode."""
    try:
        return await psycopg.AsyncConnection.connect(
            url, autocommit=True, row_factory=dict_row, **_options(schema)
        )
    except psycopg.OperationalError as error:
        raise DatabaseNotReady(f"the database does not answer: {_first_line(error)}") from error


@asynccontextmanager
async def open_pool(
    url: str, *, size: int, schema: str | None = None, name: str, patience: float = 10.0
) -> AsyncIterator[Pool]:
    """A pool of autocommit connections whose unqualified names are found in `schema`.

    Who asks for a connection gets `PoolTimeout` after `patience` seconds without one.
    """
    pool: Pool = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=size,
        kwargs={"row_factory": dict_row, "prepare_threshold": 0, **_options(schema)},
        configure=_autocommit,
        timeout=patience,
        reconnect_timeout=RECONNECT_SECONDS,
        name=name,
        open=False,
        check=AsyncConnectionPool.check_connection,
    )
    async with pool:
        yield pool


def is_transient(error: BaseException) -> bool:
    """Whether `error` is the database or the network being away, rather than a fault of the work.

    Looks through the causes too: libraries wrap what psycopg raised.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, _TRANSIENT):
            return True
        current = current.__cause__
    return False


_TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.UndefinedTable,  # not migrated yet
    PoolTimeout,
    DatabaseNotReady,
    ConnectionError,
    TimeoutError,
)


async def _autocommit(connection: Connection) -> None:
    # Here rather than in the arguments: Procrastinate opens its LISTEN connection with the pool's
    # own, and an `autocommit` of its own beside them.
    await connection.set_autocommit(True)


def _options(schema: str | None) -> dict[str, Any]:
    return {"options": f"-c search_path={schema}"} if schema else {}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
