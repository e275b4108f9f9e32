"""Pauses that threads hibernate at, unanswered; and the work that got lost on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .db import Pool
from .model import Raised, Waiting, time_of
from .question import question_columns, question_of
from .sql import statement
from .storable import as_id

__all__ = ["Position", "Watchlist", "waiting_of"]

SWEEP_LOCK = 0x4C50_5357_4545_5021  # "LPSWEEP!"
SELF_HEALING = ("early", "unwritten", "no_graph", "server_away", "server_refused")


@dataclass(frozen=True)
class Position:
    """How far the interrupts have been read; `full_at` is when that last began at the first."""

    seen_until: str
    full_at: datetime | None


@dataclass(frozen=True)
class Watchlist:
    """What the sweep remembers from one time to the next."""

    pool: Pool

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Yield whether no other process sweeps; a lock that dies with its connection."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select pg_try_advisory_lock(%s) as yes", (SWEEP_LOCK,)
            )
            row = await cursor.fetchone()
            alone = bool(row and row["yes"])
            try:
                yield alone
            finally:
                if alone and not connection.closed:
                    await connection.execute("select pg_advisory_unlock(%s)", (SWEEP_LOCK,))

    async def position(self) -> Position:
        """How far earlier sweeps have read."""
        rows = await self._rows("select seen_until, full_at from sweeps", {})
        return Position(**rows[0])

    async def move_on(self, position: Position) -> None:
        """Remember how far this sweep has read."""
        await self._rows(
            "update sweeps set seen_until = %(seen_until)s, full_at = %(full_at)s,"
            " swept_at = now() returning only_row",
            {"seen_until": position.seen_until, "full_at": position.full_at},
        )

    async def note(self, waiting: Sequence[Waiting], *, first_check: float) -> None:
        """Put pauses on the list; LoopPause is asked `first_check` seconds after the gate did."""
        asked = [question_columns(pause.question) for pause in waiting]
        columns: dict[str, list[Any]] = {
            "pause_ids": [pause.pause_id for pause in waiting],
            "thread_ids": [pause.thread_id for pause in waiting],
            "interrupt_ids": [pause.interrupt_id for pause in waiting],
            "agent_ids": [pause.agent_id for pause in waiting],
            "asked_at": [pause.asked_at for pause in waiting],
            "expires_at": [pause.expires_at for pause in waiting],
            "actions": [columns["action"] for columns in asked],
            "questions": [columns["question"] for columns in asked],
        }
        async with self.pool.connection() as connection:
            await connection.execute(
                statement("note_waiting"), {**columns, "first_check": first_check}
            )

    async def due(self, now: datetime, *, limit: int) -> list[tuple[str, datetime | None]]:
        """Waiting pauses that are due to be asked for, the longest due first; with their expiry."""
        rows = await self._rows(
            "select pause_id, expires_at from pauses"
            " where state = 'waiting' and next_check_at <= %(now)s"
            " order by next_check_at limit %(limit)s",
            {"now": now, "limit": limit},
        )
        return [(row["pause_id"], row["expires_at"]) for row in rows]

    async def check_later(self, pause_id: str, at: datetime, reason: str | None = None) -> None:
        """Ask for this pause, or look at this parked one, again at a later time."""
        await self._rows(
            "update pauses set next_check_at = %(at)s,"
            " reason = case when state = 'waiting' then %(reason)s else reason end"
            " where pause_id = %(pause_id)s and state in ('waiting', 'parked') returning pause_id",
            {"at": at, "reason": reason, "pause_id": pause_id},
        )

    async def parked(self, now: datetime, *, limit: int) -> list[tuple[str, str]]:
        """Parked pauses whose reason may have passed by itself, with its code."""
        rows = await self._rows(
            "select pause_id, reason_code from pauses"
            " where state = 'parked' and reason_code = any(%(codes)s)"
            " and coalesce(next_check_at, '-infinity') <= %(now)s"
            " order by received_at limit %(limit)s",
            {"codes": list(SELF_HEALING), "now": now, "limit": limit},
        )
        return [(row["pause_id"], row["reason_code"]) for row in rows]

    async def reopen(self, pause_ids: Sequence[str]) -> list[str]:
        """Enqueue parked or failed pauses anew; return those that were."""
        parameters = {"pause_ids": list(pause_ids), "event": "reopened", "detail": "{}"}
        rows = await self._rows(statement("retry"), parameters)
        return [row["pause_id"] for row in rows]

    async def reopen_collected(self, pause_ids: Sequence[str]) -> list[str]:
        """Enqueue those anew whose answer a waiting client has taken, before a thread asked."""
        rows = await self._rows(statement("reopen_collected"), {"pause_ids": list(pause_ids)})
        return [row["pause_id"] for row in rows]

    async def requeue_lost(self, *, older_than: timedelta, limit: int) -> list[str]:
        """Enqueue answered pauses that no job works on; return them."""
        parameters = {"older_than": older_than.total_seconds(), "limit": limit}
        rows = await self._rows(statement("requeue_lost"), parameters)
        return [row["pause_id"] for row in rows]

    async def _rows(self, query: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchall()


def waiting_of(raised: Raised) -> list[Waiting]:
    """The pauses among these interrupts: what else a graph asks is none of ours."""
    return [
        Waiting(
            pause_id=value["pause_id"],
            thread_id=raised.thread_id,
            interrupt_id=interrupt_id,
            agent_id=as_id(value.get("agent_id")),
            asked_at=time_of(raised.checkpoint_id),
            expires_at=_time(value.get("expires_at")),
            question=question_of(value),
        )
        for interrupt_id, value in raised.interrupts
        if as_id(value.get("pause_id"))
    ]


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
