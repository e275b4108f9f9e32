"""How a thread is resumed: LangGraph's side of what the rules ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .db import is_transient
from .graphs import Graphs
from .hibernation import Fault, Run, Verb, brief, for_gate
from .model import Found, Inspection, Outcome, Parked, PauseRecord, Place, Raised, Resumed
from .rules import CarryOn, Policy, Resume, asked_at, decide, not_reached
from .threads import Threads, run_config, was_refused
from .watchlist import Watchlist, waiting_of
from .which_graph import graph_of

__all__ = ["ThreadPauses"]


@dataclass(frozen=True)
class ThreadPauses:
    """The pauses that threads hibernate at."""

    threads: Threads
    graphs: Graphs
    watchlist: Watchlist
    noun = "graph"
    setting = "RESUMER_GRAPHS"

    def lock_of(self, place: Place) -> str:
        """The thread's own name."""
        return place.thread_id

    async def locate(self, pause_id: str) -> list[Found] | Parked:
        """The rows of the checkpointer that hold the pause's interrupt."""
        try:
            return await self.threads.locate(pause_id)
        except Exception as error:
            if is_transient(error):
                raise
            return Parked(
                "undecodable",
                f"the interrupt cannot be decoded ({brief(error)}): register the graph with a "
                "checkpointer that has the agent's serializer, then retry",
            )

    async def load(self, place: Found) -> Any:
        """The thread's graph. Raises `GraphNotLoaded` or `GraphAmbiguous`."""
        return await graph_of(self.graphs, self.threads.pool, place)

    async def decide(
        self,
        record: PauseRecord,
        places: Sequence[Found],
        loaded: Any,
        now: datetime,
        policy: Policy,
    ) -> Run | Outcome:
        """Inspect the thread and choose by the resume table."""
        try:
            seen = await self.threads.inspect(loaded, places[0].thread_id)
        except Exception as error:
            if is_transient(error):
                raise
            fault = Fault.of(error)
            return Parked(
                "unloadable",
                f"the thread's state cannot be loaded ({fault.reason}): deploy a version of the "
                "graph that can, then retry",
                fault.trace,
            )
        act = decide(record, places, seen, now, policy)
        if isinstance(act, (Resume, CarryOn)):
            return _ThreadRun(self, record, loaded, act, seen)
        return act


@dataclass
class _ThreadRun:
    """One resume, or the rest of one that our own crash cut off."""

    side: ThreadPauses
    record: PauseRecord
    graph: Any
    act: Resume | CarryOn
    before: Inspection
    asks: bool = True  # when it stopped

    @property
    def place(self) -> Found:
        return self.act.found

    @property
    def verb(self) -> Verb:
        return "resuming" if isinstance(self.act, Resume) else "continuing"

    async def go_on(self, answer: Any) -> None:
        found, threads = self.act.found, self.side.threads
        config = run_config(found.thread_id, self.record.pause_id, self.before.configurable)
        if isinstance(self.act, Resume):
            answer = for_gate(self.record, found.value, answer)
            strict = self.act.strict
            self.asks = await threads.resume(self.graph, found, answer, config, strict=strict)
        else:
            self.asks = await threads.carry_on(self.graph, config)

    def was_refused(self, error: Exception) -> bool:
        return was_refused(error)

    def repeats_nothing(self) -> bool:
        return True  # LangGraph keeps what each node has done

    async def confirm(self, now: datetime) -> Outcome | Fault:
        found = self.act.found
        if not self.asks and not found.checkpoint_ns:
            return Resumed()  # each step was stored before the next one began
        seen = await self.side.threads.inspect(self.graph, found.thread_id)
        if found.interrupt_id in seen.pending:
            return Parked("not_advanced", "the thread still waits at the gate it was resumed at")
        if found.checkpoint_ns and (hidden := await self._still_open()):
            if hidden.error is not None:  # which the node kept for itself
                return Fault.told(hidden.error)
            return not_reached(asked_at(self.record, [found]), now)
        if seen.checkpoint_id == self.before.checkpoint_id:
            await self._watch(seen)
        return Resumed(seen.waiting_pauses())

    async def _watch(self, seen: Inspection) -> None:
        """Note what is asked now in a step that the sweep has read already."""
        asked = [(name, value) for name, value in seen.pending.items() if isinstance(value, dict)]
        raised = Raised(
            seen.checkpoint_id or "",
            self.act.found.thread_id,
            "",
            pending=True,
            interrupts=(*asked,),
        )
        await self.side.watchlist.note(waiting_of(raised), first_check=60.0)

    async def _still_open(self) -> Found | None:
        """An interrupt that the root graph does not show, if it waits on."""
        found = self.act.found
        rows = await self.side.threads.locate(found.value["pause_id"])
        same = (row for row in rows if row.open and row.interrupt_id == found.interrupt_id)
        return next(same, None)
