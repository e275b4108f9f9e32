"""The thread lock: held on one live connection per process for as long as a run lasts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from .db import Connection, connect
from .errors import DatabaseNotReady, LockLost, PoolerRefused
from .telemetry import get_logger

__all__ = ["ThreadLocks"]

PROBES = 5
LONGEST_LINE = 3
NAMESPACE = 0x4C50  # "LP": keeps our keys apart from other users of advisory locks

log = get_logger()


@dataclass
class _Line:
    """The runs of this process that want the same thread."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


@dataclass
class ThreadLocks:
    """Advisory locks on threads. A dead process loses its locks, a stalled one keeps them.

    The locks live in the database of the checkpointer: whoever resumes from it must meet there.
    """

    url: str
    check_seconds: float = 0.5
    busy_seconds: float = 0.1
    _connection: Connection | None = None
    _holders: set[asyncio.Task[object]] = field(default_factory=set)
    _lines: dict[str, _Line] = field(default_factory=dict)
    _using: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ThreadLocks]:
        """Hold the connection and watch it.

        Raises `PoolerRefused` behind a pooler in transaction mode. A database that is away for
        the moment is no error: the connection is opened when it is needed.
        """
        with suppress(DatabaseNotReady):
            await self._connected()
        watch = asyncio.create_task(self._watch(), name="thread locks")
        try:
            yield self
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await self._drop()

    @asynccontextmanager
    async def hold(self, thread_id: str, *, patience: float) -> AsyncIterator[bool]:
        """Yield whether the lock on the thread was had within `patience` seconds.

        Raises `LockLost` when the connection dies while the body runs: the body is cancelled
        first, since another process may have taken the lock by then.
        """
        async with self._turn(thread_id, patience) as ours:
            if not ours or not await self._acquire(thread_id, patience):
                yield False
                return
            async with self._held(thread_id):
                yield True

    @asynccontextmanager
    async def _turn(self, thread_id: str, patience: float) -> AsyncIterator[bool]:
        """One run at a time in this process: the server would give one session the lock twice."""
        line = self._lines.setdefault(thread_id, _Line())
        if line.length >= LONGEST_LINE:
            yield False  # a thread with many answers must not take up every slot of the worker
            return
        line.length += 1
        try:
            async with asyncio.timeout(patience):
                await line.lock.acquire()
        except TimeoutError:
            yield False
        else:
            try:
                yield True
            finally:
                line.lock.release()
        finally:
            line.length -= 1
            if not line.length:
                self._lines.pop(thread_id, None)

    async def _acquire(self, thread_id: str, patience: float) -> bool:
        deadline = asyncio.get_running_loop().time() + patience
        while not await self._query("select pg_try_advisory_lock(%s, %s) as yes", thread_id):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(self.busy_seconds)
        return True

    @asynccontextmanager
    async def _held(self, thread_id: str) -> AsyncIterator[None]:
        holder = asyncio.current_task()
        if holder is None:
            raise RuntimeError("a lock is held by a task")
        cancelled_before = holder.cancelling()
        self._holders.add(holder)
        try:
            yield
        except asyncio.CancelledError:
            if holder in self._holders or holder.cancelling() > cancelled_before + 1:
                raise  # somebody else's cancellation, which is theirs to see
            holder.uncancel()
            raise LockLost("the lock's connection died; the run under it was stopped") from None
        finally:
            if holder in self._holders:
                self._holders.discard(holder)
                with suppress(LockLost):
                    await self._query("select pg_advisory_unlock(%s, %s) as yes", thread_id)

    async def _query(self, statement: str, thread_id: str) -> bool:
        async with self._using:
            connection = await self._connected()
            try:
                cursor = await connection.execute(statement.encode(), _key(thread_id))
                row = await cursor.fetchone()
            except psycopg.Error as error:
                self._lost()
                raise LockLost("the lock's connection died") from error
            return bool(row and row["yes"])

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._lost()
            connection = await connect(self.url)
            try:
                await _refuse_transaction_pooler(self.url, connection)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.check_seconds)
            if self._connection is None:
                continue
            async with self._using:
                try:
                    await self._connection.execute("select 1")
                except psycopg.Error:
                    self._lost()

    def _lost(self) -> None:
        """Stop every run that believed it had a lock; the server has let go of them all."""
        if self._connection is not None:
            log.warning("lock_connection_lost", stopped_runs=len(self._holders))
        self._connection = None
        holders, self._holders = self._holders, set()
        for holder in holders:
            holder.cancel()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _refuse_transaction_pooler(url: str, connection: Connection) -> None:
    """Refuse a connection whose server process is lent to others between two statements."""
    pid = await _server_pid(connection)
    if pid == connection.info.backend_pid:
        return  # direct: a pooler gives out process ids of its own making
    async with AsyncExitStack() as others:
        for _ in range(PROBES):
            other = await others.enter_async_context(await connect(url))
            await others.enter_async_context(other.transaction())
            if await _server_pid(other) == pid:
                raise PoolerRefused(
                    "the database is behind a pooler in transaction mode, where thread locks do "
                    "not hold: give the worker a direct connection, or one in session mode"
                )


async def _server_pid(connection: Connection) -> int:
    cursor = await connection.execute("select pg_backend_pid() as pid")
    row = await cursor.fetchone()
    return int(row["pid"]) if row else 0


def _key(thread_id: str) -> tuple[int, int]:
    digest = hashlib.sha256(thread_id.encode("utf-8", "surrogatepass")).digest()
    return NAMESPACE, int.from_bytes(digest[:4], "big", signed=True)
