"""Telling a session of our own from one that a pooler lends to others between two statements."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import psycopg

from .errors import PoolerRefused

__all__ = ["is_direct", "refuse_transaction_pooler"]

PROBES = 5
PROBE_SECONDS = 3.0

AnyConnection = psycopg.AsyncConnection[Any]


async def is_direct(connection: AnyConnection) -> bool:
    """Whether no pooler stands before the server: it gives out process ids of its own making."""
    return await _server_pid(connection) == connection.info.backend_pid


async def refuse_transaction_pooler(url: str, connection: AnyConnection) -> None:
    """Raise `PoolerRefused` if the server process of `connection` is lent to others meanwhile.

    To see that, a few more connections are opened to `url` and held in a transaction.
    """
    pid = await _server_pid(connection)
    if pid == connection.info.backend_pid:
        return
    async with AsyncExitStack() as others:
        for _ in range(PROBES):
            other = await _in_transaction(url, others)
            if other is None:
                return  # in session mode, a pooler whose connections are all taken lets us wait
            if await _server_pid(other) == pid:
                raise PoolerRefused(
                    "the database is behind a pooler in transaction mode, where thread locks, "
                    "search_path and LISTEN do not hold: give a direct connection, or one in "
                    "session mode"
                )


async def _in_transaction(url: str, others: AsyncExitStack) -> AnyConnection | None:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
            await others.enter_async_context(connection)
            await others.enter_async_context(connection.transaction())
    except (TimeoutError, psycopg.OperationalError):
        return None
    return connection


async def _server_pid(connection: AnyConnection) -> int:
    # By its place: the rows of some connections are tuples, of others dicts.
    cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
    await cursor.execute("select pg_backend_pid()")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
