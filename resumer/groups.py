"""Group commit: what is asked for while a statement runs is done by the next one, together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from psycopg.errors import DeadlockDetected, SerializationFailure

from .db import is_transient

__all__ = ["Groups"]

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

MOST = 100  # items in a statement
PATIENCE_SECONDS = 2.0  # for a group: a row that somebody locks must not hold up its neighbours


@dataclass
class Groups(Generic[S, T, R]):
    """Does items in groups, each item waiting for its own group to be committed.

    `work` takes a session and items with different keys, and returns what became of each, in their
    order; it is safe to repeat. Nobody waits for company: an item that finds nothing at work is
    done at once. Where a group fails by one of its items, or takes too long, each is done alone.
    """

    session: Callable[[], AbstractAsyncContextManager[S]]
    work: Callable[[S, Sequence[T]], Awaitable[Sequence[R]]]
    key: Callable[[T], str]
    most: int = MOST
    patience: float = PATIENCE_SECONDS
    _waiting: list[_Item[T, R]] = field(default_factory=list, repr=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, repr=False)
    _at_work: bool = field(default=False, repr=False)

    async def do(self, value: T) -> R:
        """What became of `value`. Raises what `work` raises for it alone."""
        item: _Item[T, R] = _Item(value, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        if not self._at_work:
            self._at_work = True
            self._start(self._keep_working())
        return await item.done

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_working(self) -> None:
        try:
            while self._waiting:
                await self._in_a_session()
        finally:
            self._at_work = False

    async def _in_a_session(self) -> None:
        """Do groups for as long as there are some, and none fails.

        In one session: to get another takes a turn of the event loop for each step, and every
        request that has come meanwhile has its turn first.
        """
        group = self._next_group()
        try:
            async with self.session() as session:
                while group:
                    async with asyncio.timeout(self.patience):
                        results = await self.work(session, [item.value for item in group])
                    for item, result in zip(group, results, strict=True):
                        item.succeed(result)
                    group = self._next_group()
        except Exception as error:  # noqa: BLE001  (it is raised where the item came from)
            self._failed(group, error)

    def _next_group(self) -> list[_Item[T, R]]:
        """The oldest that wait, each key once: two of one pause are one after the other."""
        keys: set[str] = set()
        group: list[_Item[T, R]] = []
        rest: list[_Item[T, R]] = []
        for item in self._waiting:
            key = self.key(item.value)
            if len(group) < self.most and key not in keys:
                group.append(item)
            else:
                rest.append(item)
            keys.add(key)
        self._waiting = rest
        return group

    def _failed(self, group: Sequence[_Item[T, R]], error: Exception) -> None:
        is_outage = is_transient(error) and not isinstance(error, _OWN_TROUBLE)
        for item in group:
            if is_outage or (len(group) == 1 and not isinstance(error, TimeoutError)):
                item.fail(error)
            else:
                self._start(self._alone(item))

    async def _alone(self, item: _Item[T, R]) -> None:
        """Beside the groups, and for as long as it takes: nobody else waits for it."""
        try:
            async with self.session() as session:
                [result] = await self.work(session, [item.value])
        except Exception as error:  # noqa: BLE001  (as above)
            item.fail(error)
        else:
            item.succeed(result)


# A row that is locked, or two statements in each other's way: whatever the database is like.
_OWN_TROUBLE = (TimeoutError, DeadlockDetected, SerializationFailure)


@dataclass(frozen=True)
class _Item(Generic[T, R]):
    """What is to be done, and who waits for it, unless they have gone."""

    value: T
    done: asyncio.Future[R]

    def succeed(self, result: R) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
