"""The thread lock: held on one live connection per process for as long as a run lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg

from looppause_sdk.flow_tables import lock_key

from .db import Connection, connect
from .errors import DatabaseNotReady, LockLost, PoolerRefused
from .metrics import Metrics
from .pooler import refuse_transaction_pooler
from .telemetry import get_logger

__all__ = ["ThreadLocks"]

LONGEST_LINE = 3
REFUSED_SECONDS = 1.5

log = get_logger()


@dataclass
class _Line:
    """The runs of this process that want the same thread."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


@dataclass
class ThreadLocks:
    """Advisory locks on threads. A dead process loses its locks, a stalled one keeps them.

    `grace_seconds` is how long a run goes on without a lock while the database is away. The
    locks live in the database of the checkpointer: whoever resumes from it must meet there.
    """

    url: str
    check_seconds: float = 0.5
    busy_seconds: float = 0.1
    grace_seconds: float = 10.0
    metrics: Metrics = field(default_factory=Metrics)
    _connection: Connection | None = None
    _lost_at: float | None = None
    _unlocked: set[asyncio.Task[object]] = field(default_factory=set)
    _holders: dict[asyncio.Task[object], str] = field(default_factory=dict)
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

        When the connection dies meanwhile the lock is taken again on a new one. Where somebody
        else keeps it, or there is no new connection in time, the body is cancelled and `LockLost`
        raised.
        """
        since = time.monotonic()
        async with self._turn(thread_id, patience) as ours:
            had = ours and await self._acquire(thread_id, patience)
            self.metrics.locked(time.monotonic() - since, had=had)
            if not had:
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
        while not await self._ask(_TRY_LOCK, thread_id):
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
        self._holders[holder] = thread_id
        try:
            yield
        except asyncio.CancelledError:
            if holder in self._holders or holder.cancelling() > cancelled_before + 1:
                raise  # somebody else's cancellation, which is theirs to see
            holder.uncancel()
            raise LockLost("the lock was lost with its connection; the run was stopped") from None
        finally:
            self._unlocked.discard(holder)
            if self._holders.pop(holder, None) is not None:
                with suppress(LockLost, DatabaseNotReady):
                    await self._ask(_UNLOCK, thread_id)

    async def _ask(self, statement: LiteralString, thread_id: str) -> bool:
        async with self._using:
            connection = await self._connected()
            query = asyncio.create_task(_answer(connection, statement, thread_id))
            try:
                return await asyncio.shield(query)
            except psycopg.Error as error:
                self._lost()
                raise LockLost("the lock's connection died") from error
            except asyncio.CancelledError:
                # A lock that nobody waits for any more would stay as long as the connection.
                with suppress(psycopg.Error):
                    if await query and statement is _TRY_LOCK:
                        await _answer(connection, _UNLOCK, thread_id)
                raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._lost()
            connection = await connect(self.url)
            try:
                await refuse_transaction_pooler(self.url, connection)
                await self._take_again(connection)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _take_again(self, connection: Connection) -> None:
        """Lock again what lost its lock with the last connection."""
        for holder in list(self._unlocked):
            thread_id = self._holders.get(holder)  # a run may end while we ask
            if thread_id is None or await _answer(connection, _TRY_LOCK, thread_id):
                self._unlocked.discard(holder)
        if not self._unlocked:
            self._lost_at = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.check_seconds)
            async with self._using:
                try:
                    connection = await self._connected()
                    await connection.execute("select 1")
                    await self._take_again(connection)
                except (psycopg.Error, DatabaseNotReady):
                    self._lost()
                except PoolerRefused as error:
                    log.error("lock_connection_refused", reason=str(error))
            self._stop_what_lasts()

    def _lost(self) -> None:
        if self._connection is not None:
            log.warning("lock_connection_lost", runs=len(self._holders))
            self._lost_at = asyncio.get_running_loop().time()
            self._unlocked = set(self._holders)
            self._connection.pgconn.finish()  # if only we think it dead, the server lets go now
        self._connection = None

    def _stop_what_lasts(self) -> None:
        """Stop runs that were too long without a lock: by now somebody else may have begun.

        Whoever gets the lock in between finds the pause being resumed, and lets go of it at once.
        """
        if self._lost_at is None:
            return
        grace = self.grace_seconds if self._connection is None else REFUSED_SECONDS
        if asyncio.get_running_loop().time() - self._lost_at > grace:
            for holder in self._unlocked & set(self._holders):
                log.warning("run_stopped_without_lock", thread_id=self._holders.pop(holder))
                holder.cancel()
            self._unlocked.clear()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


_TRY_LOCK: LiteralString = "select pg_try_advisory_lock(%s, %s) as yes"
_UNLOCK: LiteralString = "select pg_advisory_unlock(%s, %s) as yes"


async def _answer(connection: Connection, statement: LiteralString, thread_id: str) -> bool:
    cursor = await connection.execute(statement, lock_key(thread_id))
    row = await cursor.fetchone()
    return bool(row and row["yes"])
