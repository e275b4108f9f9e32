"""The pauses that threads of one server hibernate at: read page by page, and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from resumer.errors import RemoteAway, RemoteRefused

from .seen import RemotePlace, ServerThread
from .server import Server

__all__ = ["Sightings"]

MOST = 50_000
SPACING = 0.25  # seconds between two looks: what comes meanwhile shares the next
FULL_EVERY = 900.0
OVERLAP = timedelta(seconds=30)  # times are the server's own; what it commits late is seen again
ERRORS = 50
RECENT = 1_000


@dataclass
class Sightings:
    """Where pauses hibernate on `server`.

    Each look reads only threads that changed since the last; now and then one reads them all, and
    forgets what waits no more. At most `most` pauses are kept, the last seen ones.
    """

    server: Server
    most: int = MOST
    clock: Callable[[], float] = time.monotonic
    _kept: dict[str, dict[str, RemotePlace]] = field(default_factory=dict)
    _recent: dict[str, datetime] = field(default_factory=dict)
    _failed: dict[str, datetime] = field(default_factory=dict)
    _trouble: Exception | None = None
    _looked_at: float = float("-inf")
    _full_at: float = float("-inf")
    _swept_until: datetime | None = None
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, pause_id: str) -> list[RemotePlace]:
        """Where threads hibernate at this pause. Raises `RemoteAway` or `RemoteRefused`."""
        await self._look()
        return list(self._kept.get(pause_id, {}).values())

    async def swept(self) -> AsyncIterator[list[ServerThread]]:
        """The threads that hibernate and have changed since the last sweep, page by page.

        The first sweep reads them all. Raises `RemoteAway` or `RemoteRefused`.
        """
        since, newest = self._swept_until, self._swept_until
        async for page in self._pages(since, {}):
            newest = max(*(thread.updated_at for thread in page), newest or page[0].updated_at)
            yield page
        self._swept_until = newest

    async def _look(self) -> None:
        async with self._looking:
            if self.clock() - self._looked_at < SPACING:
                if self._trouble is not None:
                    raise type(self._trouble)(str(self._trouble))
                return
            self._trouble = None
            try:
                await self._read(self.clock())
            except (RemoteAway, RemoteRefused) as error:
                self._trouble = error  # of those that wait for this look, too
                raise
            finally:
                self._looked_at = self.clock()

    async def _read(self, now: float) -> None:
        is_full = now - self._full_at > FULL_EVERY
        known = {} if is_full else self._recent
        seen: dict[str, dict[str, RemotePlace]] = {}
        changed: dict[str, datetime] = {}
        async for page in self._pages(max(known.values(), default=None), known):
            changed |= {thread.thread_id: thread.updated_at for thread in page}
            for thread in page:
                for pause_id, place in thread.places(self.server.url).items():
                    seen.setdefault(pause_id, {})[place.thread_id] = place
            if len(seen) >= self.most:
                break
        self._merge(seen, forget=is_full)
        newest_last = sorted({**self._recent, **changed}.items(), key=lambda item: item[1])
        self._recent = dict(newest_last[-RECENT:])
        self._full_at = now if is_full else self._full_at

    def _merge(self, seen: dict[str, dict[str, RemotePlace]], *, forget: bool) -> None:
        """Take in what was seen, oldest first, so that the oldest are dropped first."""
        if forget:
            self._kept.clear()
        for pause_id in reversed(seen):
            self._kept[pause_id] = {**self._kept.pop(pause_id, {}), **seen[pause_id]}
        while len(self._kept) > self.most:
            del self._kept[next(iter(self._kept))]

    async def _pages(
        self, newest: datetime | None, known: Mapping[str, datetime]
    ) -> AsyncIterator[list[ServerThread]]:
        since = newest and newest - OVERLAP
        async for page in self.server.pages("interrupted", since):
            yield page
            if all(known.get(thread.thread_id) == thread.updated_at for thread in page):
                break  # many may hibernate in one moment, and are not read again and again
        async for page in self.server.pages("error", since):
            # Listed without their interrupts: a task beside the gate raised, or somebody sent the
            # gate a proof that is none.
            looked = [await self._with_interrupts(thread) for thread in page[:ERRORS]]
            if threads := [thread for thread in looked if thread is not None]:
                yield threads
            break

    async def _with_interrupts(self, thread: ServerThread) -> ServerThread | None:
        if self._failed.get(thread.thread_id) == thread.updated_at:
            return thread  # looked at before, and it asked nothing
        seen = await self.server.snapshot(thread.thread_id)
        if seen is not None and not seen.pending:
            self._failed[thread.thread_id] = thread.updated_at
            while len(self._failed) > 10 * ERRORS:
                del self._failed[next(iter(self._failed))]
        return seen.as_listed() if seen else None
