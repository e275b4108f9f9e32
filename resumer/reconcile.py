"""The sweep: compare pauses, threads and LoopPause, and repair what got lost between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from looppause_sdk import AsyncLoopPauseClient
from looppause_sdk.errors import (
    LoopPauseRequestError,
    LoopPauseUnavailable,
    ProofError,
)
from looppause_sdk.proof import DENIAL_STATUSES, claimed_pause_id

from .errors import GraphAmbiguous, GraphNotLoaded
from .flows import FlowPauses
from .graphs import Graphs
from .intake import Intake
from .model import Raised, Waiting, checkpoint_id_at, utc_now
from .remote import RemotePauses
from .telemetry import get_logger
from .threads import Threads
from .watchlist import Position, Watchlist, waiting_of
from .which_graph import graph_of

__all__ = ["Reconciler", "Sweep", "next_check"]

PAGE = 100  # some 20 ms for each step, also where millions hibernate
PAGES_PER_SWEEP = 1000
BATCH = 100
IN_FLIGHT = 4
OVERLAP = timedelta(minutes=10)
FULL_EVERY = timedelta(hours=6)
LOST_AFTER = timedelta(seconds=15)
LONGEST_CHECK = timedelta(minutes=5)
UNKNOWN_CHECK = timedelta(hours=1)

log = get_logger()


@dataclass(frozen=True)
class Sweep:
    """What one sweep found and did, in pauses."""

    requeued: int = 0
    reopened: int = 0
    waiting: int = 0
    asked: int = 0
    answered: int = 0


@dataclass(frozen=True)
class Reconciler:
    """What it takes to sweep. Without `looppause` nothing is asked there.

    `interval` is the time between sweeps, in seconds.
    """

    watchlist: Watchlist
    intake: Intake
    threads: Threads
    graphs: Graphs
    looppause: AsyncLoopPauseClient | None
    interval: float
    clock: Callable[[], datetime] = utc_now
    flows: FlowPauses | None = None
    remotes: RemotePauses | None = None

    async def sweep(self) -> Sweep | None:
        """Repair both ways, once; None if another process is at it.

        Safe to repeat; raises only what the database raises.
        """
        async with self.watchlist.alone() as alone:
            return await self._sweep() if alone else None

    async def _sweep(self) -> Sweep:
        requeued = await self.watchlist.requeue_lost(older_than=LOST_AFTER, limit=BATCH)
        reopened = await self._reopen_healed()
        waiting, collected = await self._read_interrupts()
        for read in (self._read_flows, self._read_remotes):
            more_waiting, more_collected = await read()
            waiting, collected = waiting + more_waiting, collected + more_collected
        asked, answered = await self._ask()
        done = Sweep(len(requeued), len(reopened) + collected, waiting, asked, answered)
        self.intake.metrics.found(
            requeued=done.requeued, reopened=done.reopened, answered=done.answered
        )
        repaired = done.requeued or done.reopened or done.answered
        (log.info if repaired else log.debug)("reconciled", **vars(done))
        return done

    async def _reopen_healed(self) -> list[str]:
        now, healed = self.clock(), []
        for pause_id, code in await self.watchlist.parked(now, limit=BATCH):
            if await self._has_healed(pause_id, code) or (
                await self._has_healed_elsewhere(pause_id, code)
            ):
                healed.append(pause_id)
            else:
                await self.watchlist.check_later(pause_id, now + LONGEST_CHECK)
        return await self.watchlist.reopen(healed) if healed else []

    async def _has_healed(self, pause_id: str, code: str) -> bool:
        rows = await self.threads.locate(pause_id)
        if code != "no_graph":
            return any(row.stored for row in rows)
        if not rows:
            return False
        try:
            await graph_of(self.graphs, self.threads.pool, rows[0])
        except (GraphNotLoaded, GraphAmbiguous):
            return False
        return True

    async def _has_healed_elsewhere(self, pause_id: str, code: str) -> bool:
        for kind in (self.flows, self.remotes):
            if kind is not None and await kind.has_healed(pause_id, code):
                return True
        return False

    async def _read_interrupts(self) -> tuple[int, int]:
        """Put new unanswered interrupts on the watch list, and take up what was collected early.

        Returns how many were pending, and how many were taken up.
        """
        position, pending, collected = await self._start(), 0, 0
        for _ in range(PAGES_PER_SWEEP):
            last = Raised(position.seen_until, "￿", "", pending=False, interrupts=())
            page = await self.threads.raised_after(last, limit=PAGE)
            waiting = [pause for raised in page for pause in waiting_of(raised)]
            collected += await self._note(waiting)
            pending += len(waiting)
            if page:
                position = Position(page[-1].checkpoint_id, position.full_at)
            if len(page) < PAGE:
                break
        await self.watchlist.move_on(position)
        return pending, collected

    async def _read_flows(self) -> tuple[int, int]:
        """As `_read_interrupts`, for flows that the sweep was not told of."""
        if self.flows is None:
            return 0, 0
        pending, collected = 0, 0
        for _ in range(PAGES_PER_SWEEP):
            waiting = await self.flows.unnoted(limit=PAGE)
            collected += await self._note(waiting)
            await self.flows.noted(waiting)
            pending += len(waiting)
            if len(waiting) < PAGE:
                break
        return pending, collected

    async def _read_remotes(self) -> tuple[int, int]:
        """As `_read_interrupts`, for threads on LangGraph servers."""
        pending, collected = 0, 0
        if self.remotes is not None:
            async for waiting in self.remotes.waiting():
                collected += await self._note(waiting)
                pending += len(waiting)
        return pending, collected

    async def _note(self, waiting: Sequence[Waiting]) -> int:
        """Put them on the watch list; return how many of them were collected early."""
        if not waiting:
            return 0
        await self.watchlist.note(waiting, first_check=min(60.0, self.interval))
        pause_ids = [pause.pause_id for pause in waiting]
        return len(await self.watchlist.reopen_collected(pause_ids))

    async def _start(self) -> Position:
        """Where to read from: a little before the end, for clocks and writes that come late."""
        position, now = await self.watchlist.position(), self.clock()
        if position.full_at is None or now - position.full_at > FULL_EVERY:
            return Position("", now)
        overlap = checkpoint_id_at(now - OVERLAP)
        return Position(min(position.seen_until, overlap), position.full_at)

    async def _ask(self) -> tuple[int, int]:
        """Ask LoopPause for what is due; return how many were asked for and answered."""
        if self.looppause is None:
            return 0, 0
        due = await self.watchlist.due(self.clock(), limit=BATCH)
        slots, out_of_reach = asyncio.Semaphore(IN_FLIGHT), asyncio.Event()

        async def ask(pause_id: str, expires_at: datetime | None) -> bool:
            async with slots:
                if out_of_reach.is_set():
                    return False
                try:
                    return await self._ask_for(pause_id, expires_at)
                except LoopPauseUnavailable as error:
                    if not out_of_reach.is_set():
                        log.warning("looppause_unavailable", reason=str(error)[:300])
                    out_of_reach.set()
                    return False

        answered = await asyncio.gather(*(ask(*pause) for pause in due))
        return len(due), sum(answered)

    async def _ask_for(self, pause_id: str, expires_at: datetime | None) -> bool:
        """Take LoopPause's answer as if it had been delivered; whether there was one."""
        now = self.clock()
        later, problem = next_check(now, expires_at, self.interval), None
        try:
            if await self._take(pause_id):
                return True
        except LoopPauseUnavailable:
            raise
        except (LoopPauseRequestError, ProofError) as error:
            later, problem = now + UNKNOWN_CHECK, f"LoopPause has no usable answer: {error}"[:500]
            log.warning("looppause_answer_unusable", pause_id=pause_id, reason=str(error)[:300])
        await self.watchlist.check_later(pause_id, later, problem)
        return False

    async def _take(self, pause_id: str) -> bool:
        if self.looppause is None:
            return False
        body = await self.looppause.get_pause_body(pause_id)
        members: dict[str, Any] = json.loads(body)
        status = str(members.get("status", "")).replace("canceled", "cancelled")
        if "signature" in members and claimed_pause_id(body) == pause_id:
            await self.intake.accept(body)
        elif status in DENIAL_STATUSES:
            await self.intake.pauses.record_denial(pause_id, status)
            log.info("denied", pause_id=pause_id, status=status)
        else:
            return False
        return True


def next_check(now: datetime, expires_at: datetime | None, interval: float) -> datetime:
    """When to ask again: every few minutes, and the oftener the nearer the pause is to its end."""
    if expires_at is None:
        return now + LONGEST_CHECK
    left = abs(expires_at - now) / 10
    return now + min(max(left, timedelta(seconds=interval)), LONGEST_CHECK)
