"""Pruning: what has ended long ago is written to files, then deleted, a batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from .archive import Archive
from .db import Connection, Pool
from .model import utc_now
from .sql import statement
from .telemetry import get_logger
from .threads import key_range

__all__ = ["ALONE", "Pruned", "Retention"]

BATCH = 100  # each may hold a proof of 256 KiB
MOST_AT_ONCE = 20_000
PAGE = 500
PAGES = 20
FIRST = datetime.min.replace(tzinfo=UTC)
KNOWN_DAYS = 730  # how long the answer of a pruned pause is known again
ALONE = 0x4C50_5052_554E_4521  # "LPPRUNE!": one pruner at a time

Record = dict[str, Any]
Export = Callable[[Connection, Sequence[str]], Awaitable[list[Record]]]

log = get_logger()


@dataclass(frozen=True)
class Pruned:
    """What one batch came to; `kept` are pauses that a thread still waits at."""

    pauses: int
    kept: tuple[str, ...] = ()
    until: datetime | None = None

    @property
    def examined(self) -> int:
        """How many pauses were looked at."""
        return self.pauses + len(self.kept)


@dataclass
class _Place:
    """How far a run has come."""

    since: datetime = FIRST
    kept: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Retention:
    """Prunes one database. `export` gives the whole record of each pause that is named.

    `checkpoints` is where the threads are: a pause that one still waits at is never pruned.
    """

    pool: Pool
    checkpoints: Pool
    export: Export
    clock: Callable[[], datetime] = utc_now

    async def count(self, before: datetime, *, most: int = 1_000_000) -> int:
        """How many pauses have ended before, as far as `most`."""
        async with self._asking() as connection:
            cursor = await connection.execute(
                statement("retention/count_ended"), {"before": before, "most": most}
            )
            row = await cursor.fetchone()
        return min(int(row["count"]), most) if row else 0

    async def pauses(
        self, before: datetime, archive: Archive | None, *, most: int = MOST_AT_ONCE
    ) -> AsyncIterator[Pruned]:
        """Prune what has ended before, the first first, and tell of each batch.

        It goes on until it has looked at `most`; cut off, it can be called again. Ends at once if
        another process prunes. Raises `OSError` if the archive cannot be written: nothing of that
        batch is deleted then.
        """
        place, examined = _Place(), 0
        while examined < most:
            batch = await self._batch(before, archive, place, min(BATCH, most - examined))
            if not batch.examined:
                return
            examined += batch.examined
            place.kept += batch.kept
            place.since = batch.until or place.since
            yield batch

    async def acts(self, before: datetime, archive: Archive | None) -> int:
        """Prune what operators did before, but for what says how things stand now; return how many.

        Raises as `pauses` does.
        """
        after = pruned = 0
        for _ in range(PAGES):
            async with self._acting() as connection:
                if connection is None:
                    break
                values = {"after": after, "before": before, "limit": PAGE}
                cursor = await connection.execute(statement("retention/old_acts"), values)
                page = await cursor.fetchall()
                over = [row for row in page if row.pop("is_over")]
                await self._archived(archive, "acts", over)
                named = ([row["id"] for row in over],)
                await connection.execute("delete from audit where id = any(%s)", named)
            pruned += len(over)
            if len(page) < PAGE:
                break
            after = page[-1]["id"]
        return pruned

    async def told(self, by: str, detail: dict[str, Any]) -> None:
        """Note in the audit that pauses were pruned."""
        target = "1 pause" if detail["pauses"] == 1 else f"{detail['pauses']} pauses"
        async with self._asking() as connection:
            await connection.execute(
                "insert into audit (who, action, target, detail) values (%s, 'pruned', %s, %s)",
                (by, target, Jsonb(detail)),
            )

    async def housekeeping(self, before: datetime) -> None:
        """Bound what nobody signed: counts of refusals, the queue's own notes, old marks."""
        refusals = max(before, self.clock() - timedelta(days=91))
        async with self._asking() as connection:
            await connection.execute("delete from refusals where minute < %s", (refusals,))
        for name in ("old_job_events", "old_jobs", "old_marks"):
            values = {"limit": MOST_AT_ONCE, "days": KNOWN_DAYS}
            for _ in range(PAGES):
                async with self._asking() as connection:
                    cursor = await connection.execute(statement(f"retention/{name}"), values)
                if not cursor.rowcount:
                    break

    async def _batch(
        self, before: datetime, archive: Archive | None, place: _Place, limit: int
    ) -> Pruned:
        """In one transaction, which holds the rows until they are on disk and deleted."""
        async with self._acting() as connection:
            if connection is None:
                return Pruned(0)
            values = {"since": place.since, "before": before, "kept": place.kept, "limit": limit}
            cursor = await connection.execute(statement("retention/ended"), values)
            rows = await cursor.fetchall()
            if not rows:
                return Pruned(0)
            open_still = await self._still_open([row["pause_id"] for row in rows])
            gone = [row["pause_id"] for row in rows if row["pause_id"] not in open_still]
            if archive is not None and gone:
                await self._archived(archive, "pauses", await self.export(connection, gone))
            await connection.execute(statement("retention/forget"), {"pause_ids": gone})
        return Pruned(len(gone), tuple(open_still), rows[-1]["finished_at"])

    async def _archived(self, archive: Archive | None, kind: Any, records: list[Record]) -> None:
        if archive is not None and records:
            await asyncio.to_thread(archive.append, kind, records, self.clock())

    async def _still_open(self, pause_ids: Sequence[str]) -> set[str]:
        lows, highs = zip(*map(key_range, pause_ids), strict=True)
        values = {"pause_ids": list(pause_ids), "lows": list(lows), "highs": list(highs)}
        async with self.checkpoints.connection() as connection, connection.transaction():
            # Looked up one by one in some milliseconds: compiling it would take longer.
            await connection.execute("set local jit = off")
            await connection.execute("set local statement_timeout = '30s'")
            cursor = await connection.execute(statement("retention/still_open"), values)
            return {row["pause_id"] for row in await cursor.fetchall()}

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Connection]:
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute("set local statement_timeout = '30s'")
            yield connection

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[Connection | None]:
        """A transaction in which nobody else prunes, or None; the lock goes with it."""
        async with self._asking() as connection:
            cursor = await connection.execute(
                "select pg_try_advisory_xact_lock(%s) as yes", (ALONE,)
            )
            row = await cursor.fetchone()
            yield connection if row and row["yes"] else None
