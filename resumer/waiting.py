"""Clients that wait for answers, woken by one listening connection however many they are.

Procrastinate's own trigger notifies of every job, and recording an answer makes one: so nothing
more is written for those who wait, and nothing is asked while nobody does.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from .db import Connection, connect, is_transient
from .errors import DatabaseNotReady, TooManyWaiting
from .model import Standing
from .pauses import Pauses
from .telemetry import Seldom, get_logger

__all__ = ["CHANNEL", "WaitingRoom"]

CHANNEL = "procrastinate_queue_v1#resume"  # the queue that record_proofs.sql writes to
MOST_WAITING = 5000
LOOK_SECONDS = 3.0  # the safety net: behind a transaction pooler, no notification comes
GAP_SECONDS = 0.01  # between two looks: what comes in meanwhile is found by one
AGAIN_SECONDS = 0.5
DEAF_SECONDS = 5.0

log = get_logger()


@dataclass(eq=False)
class _Waiter:
    answered: asyncio.Future[Standing]
    state: str = "unknown"

    def settle(self, standing: Standing) -> None:
        self.state = standing.state
        if standing.body is not None and not self.answered.done():
            self.answered.set_result(standing)

    def dismiss(self) -> None:
        if not self.answered.done():
            self.answered.set_result(Standing(self.state))


@dataclass
class WaitingRoom:
    """Where clients wait in this process. `url` is for the connection that listens."""

    url: str
    pauses: Pauses
    room_for: int = field(default_factory=lambda: min(MOST_WAITING, _half_of_all_sockets()))
    _is_open: bool = False
    _count: int = 0
    _waiters: dict[str, set[_Waiter]] = field(default_factory=dict)
    _new: set[str] = field(default_factory=set)
    _look: asyncio.Event = field(default_factory=asyncio.Event)
    _look_at_all: bool = False
    _occupied: asyncio.Event = field(default_factory=asyncio.Event)
    _complaints: Seldom = field(default_factory=lambda: Seldom(log))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[WaitingRoom]:
        """Let clients wait; on leaving, those that do are answered at once."""
        tasks = [
            asyncio.create_task(self._listen_while_occupied(), name="answers: listen"),
            asyncio.create_task(self._keep_looking(), name="answers: look"),
        ]
        self._is_open = True
        try:
            yield self
        finally:
            self.dismiss()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def dismiss(self) -> None:
        """Answer all who wait with what is known, and let nobody wait any more."""
        self._is_open = False
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.dismiss()

    async def wait(self, pause_id: str, seconds: float) -> Standing:
        """Where the pause stands once it is answered, or else after `seconds`.

        Raises `TooManyWaiting`; for 0 seconds also `DatabaseNotReady`.
        """
        if seconds <= 0 or not self._is_open:
            return await self._now(pause_id)
        with self._waiting(pause_id) as waiter:
            await asyncio.wait([waiter.answered], timeout=seconds)
            return waiter.answered.result() if waiter.answered.done() else Standing(waiter.state)

    async def _now(self, pause_id: str) -> Standing:
        try:
            found = await self.pauses.standing([pause_id])
        except Exception as error:
            if is_transient(error):
                raise DatabaseNotReady("the database does not answer") from error
            raise
        return found.get(pause_id, Standing("unknown"))

    @contextmanager
    def _waiting(self, pause_id: str) -> Iterator[_Waiter]:
        if self._count >= self.room_for:
            raise TooManyWaiting(f"{self._count} clients wait here already: ask again later")
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        waiters = self._waiters.setdefault(pause_id, set())
        waiters.add(waiter)
        self._count += 1
        self._occupied.set()
        self._new.add(pause_id)
        self._look.set()
        try:
            yield waiter
        finally:
            self._count -= 1
            waiters.discard(waiter)
            if not waiters and self._waiters.get(pause_id) is waiters:
                del self._waiters[pause_id]
            if not self._waiters:
                self._occupied.clear()

    async def _listen_while_occupied(self) -> None:
        while True:
            await self._occupied.wait()
            try:
                await self._listen()
            except (psycopg.Error, DatabaseNotReady, TimeoutError) as error:
                self._complaints.warning("answers_not_listened_for", error=repr(error)[:300])
                await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        async with asyncio.timeout(DEAF_SECONDS):
            connection = await connect(self.url)
        async with connection:
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
            self._mark()  # what came in before we listened
            while self._occupied.is_set():
                async for _ in connection.notifies(timeout=LOOK_SECONDS):
                    self._mark()
                self._mark()
                await _see_that_it_lives(connection)

    def _mark(self) -> None:
        self._look_at_all = True
        self._look.set()

    async def _keep_looking(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await self._look_once()
            except Exception as error:  # noqa: BLE001  (the next look is another chance)
                self._complaints.warning("answers_not_looked_for", error=repr(error)[:300])
            await asyncio.sleep(GAP_SECONDS)

    async def _look_once(self) -> None:
        """One question for all who wait, and one for those who have just come."""
        new, everybody = list(self._new), self._look_at_all
        self._new.clear()
        self._look_at_all = False
        if new:
            self._settle(await self.pauses.standing(new))
        if everybody and self._waiters:
            self._settle(await self.pauses.standing(list(self._waiters), only_answered=True))

    def _settle(self, found: dict[str, Standing]) -> None:
        for pause_id, standing in found.items():
            for waiter in self._waiters.get(pause_id, ()):
                waiter.settle(standing)


async def _see_that_it_lives(connection: Connection) -> None:
    """A connection whose other end has vanished would listen for ever, and hear nothing."""
    async with asyncio.timeout(DEAF_SECONDS):
        await connection.execute("select 1")


def _half_of_all_sockets() -> int:
    """Those who wait must leave some to those who deliver."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WAITING if soft == resource.RLIM_INFINITY else soft // 2
