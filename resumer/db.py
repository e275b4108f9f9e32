"""Connections: the pools, and how they are set up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from .errors import DatabaseNotReady
from .pooler import refuse_transaction_pooler

__all__ = ["SCHEMA", "Pool", "connect", "is_transient", "open_pool"]

SCHEMA = "resumer"
LIVES_SECONDS = 1.0  # for so long, one that has answered is taken to be there still
RECONNECT_SECONDS = 5.0  # then at once again: the pool's own backoff would outlast the outage

Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]


async def connect(url: str, *, schema: str | None = None) -> Connection:
    """One connection outside any pool, in autocommit mode.

    Raises `DatabaseNotReady`; with a `schema` also `PoolerRefused`.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, row_factory=dict_row
        )
        try:
            await _Session(url, schema).enter(connection)
        except BaseException:
            await connection.close()
            raise
    except psycopg.OperationalError as error:
        raise DatabaseNotReady(f"the database does not answer: {_first_line(error)}") from error
    return connection


@asynccontextmanager
async def open_pool(
    url: str, *, size: int, schema: str | None = None, name: str, patience: float = 10.0
) -> AsyncIterator[Pool]:
    """A pool of autocommit connections whose unqualified names are found in `schema`.

    Who asks for a connection gets `PoolTimeout` after `patience` seconds without one. Raises
    `PoolerRefused` where a `schema` cannot be kept from one statement to the next.
    """
    session = _Session(url, schema)
    with suppress(DatabaseNotReady, TimeoutError):
        await session.look(patience)
    pool: Pool = AsyncConnectionPool(
        url,
        connection_class=_Pooled,
        min_size=1,
        max_size=size,
        kwargs={"row_factory": dict_row, "prepare_threshold": 0},
        configure=session.enter,
        timeout=patience,
        reconnect_timeout=RECONNECT_SECONDS,
        name=name,
        open=False,
        check=_check,
    )
    async with pool:
        yield pool


class _Pooled(psycopg.AsyncConnection[DictRow]):
    """A connection that knows when it last answered."""

    answered_at = float("-inf")


async def _check(connection: Connection) -> None:
    """Ask whether it lives, unless it has just been asked: a resume takes one twenty times."""
    now = time.monotonic()
    if isinstance(connection, _Pooled) and now - connection.answered_at > LIVES_SECONDS:
        await AsyncConnectionPool.check_connection(connection)
        connection.answered_at = now


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


@dataclass
class _Session:
    """How each new connection to `url` is set up."""

    url: str
    schema: str | None
    is_ours: bool = False

    async def enter(self, connection: Connection) -> None:
        # By statements rather than in the arguments: Procrastinate opens its LISTEN connection
        # with the pool's own and an `autocommit` of its own beside them, and poolers refuse
        # `options`.
        await connection.set_autocommit(True)
        if self.schema is None:
            return
        if not self.is_ours:  # else whoever is lent this session next would have our search_path
            await refuse_transaction_pooler(self.url, connection)
            self.is_ours = True
        await connection.execute("select set_config('search_path', %s, false)", (self.schema,))

    async def look(self, seconds: float) -> None:
        """Say at once, rather than by a pool that stays empty, that a pooler is refused."""
        if self.schema is not None:
            async with asyncio.timeout(seconds):
                connection = await connect(self.url, schema=self.schema)
                self.is_ours = True
                await connection.close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
