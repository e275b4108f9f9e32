"""Deliveries that were not genuine, counted: in memory, and a few times a minute in the database.

Whoever forges writes nothing by it, and nothing of what was said is kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from .db import Pool
from .sql import statement
from .telemetry import Seldom, get_logger

__all__ = ["Refusals"]

STORE_SECONDS = 10.0

log = get_logger()


@dataclass
class Refusals:
    """How many there were since they were last stored, by the scheme they claimed."""

    _counts: Counter[str] = field(default_factory=Counter)
    _complaints: Seldom = field(default_factory=lambda: Seldom(log), repr=False)

    def count(self, scheme: str) -> None:
        """Count one that claimed this scheme."""
        self._counts[scheme] += 1

    @asynccontextmanager
    async def storing(self, pool: Pool) -> AsyncIterator[None]:
        """Store the counts from time to time, and what is left when the body ends."""
        task = asyncio.create_task(self._keep_storing(pool), name="refusals")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._store(pool)

    async def _keep_storing(self, pool: Pool) -> None:
        while True:
            await asyncio.sleep(STORE_SECONDS)
            await self._store(pool)

    async def _store(self, pool: Pool) -> None:
        counts = dict(self._counts)
        if not counts:
            return
        try:
            async with pool.connection() as connection:
                await connection.execute(
                    statement("count_refusals"),
                    {"schemes": list(counts), "counts": list(counts.values())},
                )
        except Exception as error:  # noqa: BLE001  (they are kept, for the next time)
            self._complaints.warning("refusals_not_stored", error=repr(error)[:300])
        else:
            self._counts -= Counter(counts)
