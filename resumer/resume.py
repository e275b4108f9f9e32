"""One answered pause to one outcome: locate, lock, inspect, act, confirm."""

from __future__ import annotations

import json
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from looppause_sdk.errors import LoopPauseUnavailable, ProofError
from looppause_sdk.proof import Proof

from .db import is_transient
from .errors import GraphNotLoaded
from .graphs import Graphs
from .locks import ThreadLocks
from .model import (
    AlreadyResumed,
    Failed,
    Found,
    Inspection,
    Outcome,
    Parked,
    PauseRecord,
    Postponed,
    Resumed,
    State,
    utc_now,
)
from .node_threads import until_nodes_end
from .pauses import Pauses
from .rules import CarryOn, Policy, Resume, age, asked_at, decide, early, patience_for
from .telemetry import get_logger
from .threads import Threads, run_config, was_refused

__all__ = ["Resumption", "brief"]

ERROR_CHARS = 8_000

log = get_logger()


@dataclass(frozen=True)
class Resumption:
    """What it takes to resume: the records, the threads, the graphs, the locks, the policy."""

    pauses: Pauses
    threads: Threads
    graphs: Graphs
    locks: ThreadLocks
    policy: Policy
    verify: Callable[[Any], Proof]
    clock: Callable[[], datetime] = utc_now

    async def run(self, pause_id: str) -> Outcome | None:
        """Bring the pause to an outcome and store it; None if there is nothing left to do.

        Raises only what the database or the network being away raises: nothing is stored then,
        and the work is to be tried again.
        """
        record = await self.pauses.load(pause_id)
        if record is None or record.state in (State.RESUMED, State.PARKED):
            return None
        rows = await self._locate(record)
        if isinstance(rows, Parked):
            return await self._store(record, rows, None)
        if not rows:
            return await self._store(record, early(record, self.clock(), self.policy), None)
        if len({row.thread_id for row in rows}) > 1:
            return await self._store(record, _SHARED_PAUSE, None)
        return await self._locked(record, rows)

    async def _locate(self, record: PauseRecord) -> list[Found] | Parked:
        try:
            return await self.threads.locate(record.pause_id)
        except Exception as error:
            if is_transient(error):
                raise
            return Parked(
                "undecodable",
                f"the interrupt cannot be decoded ({brief(error)}): register the graph with a "
                "checkpointer that has the agent's serializer, then retry",
            )

    async def _locked(self, record: PauseRecord, rows: list[Found]) -> Outcome | None:
        thread_id = rows[0].thread_id
        async with self.locks.hold(thread_id, patience=self.policy.lock_seconds) as held:
            if not held:
                return await self._store(record, _BUSY, rows[0])
            # Whoever held the lock before may have done the work.
            fresh = await self.pauses.load(record.pause_id)
            if fresh is None or fresh.state in (State.RESUMED, State.PARKED):
                return None
            outcome = await self._decide_and_act(fresh, rows)
            return await self._store(fresh, outcome, rows[0])

    async def _decide_and_act(self, record: PauseRecord, rows: list[Found]) -> Outcome:
        graph = await self._graph_for(record, rows)
        if isinstance(graph, (Parked, Postponed)):
            return graph
        try:
            seen = await self.threads.inspect(graph, rows[0].thread_id)
        except Exception as error:
            if is_transient(error):
                raise
            return Parked(
                "unloadable",
                f"the thread's state cannot be loaded ({brief(error)}): deploy a version of the "
                "graph that can, then retry",
                _trace(error),
            )
        act = decide(record, rows, seen, self.clock(), self.policy)
        if isinstance(act, (Resume, CarryOn)):
            return await self._act(record, graph, act, seen)
        return act

    async def _graph_for(self, record: PauseRecord, rows: list[Found]) -> Any:
        agent_id = rows[0].agent_id
        name = self.graphs.name_for(agent_id)
        try:
            if name is not None:
                return await self.graphs.load(name)
            reason = f"no graph is registered for agent {agent_id!r}"
        except GraphNotLoaded as error:
            reason = str(error)
        return patience_for(
            "no_graph",
            reason,
            otherwise=f"{reason}: add it to RESUMER_GRAPHS or mend it, then retry this pause",
            waited=age(asked_at(record, rows), self.clock()),
            limit=self.policy.deploy_seconds,
            longest=30.0,
        )

    async def _act(
        self, record: PauseRecord, graph: Any, act: Resume | CarryOn, seen: Inspection
    ) -> Outcome:
        found = act.found
        stall_seconds = self.policy.stall_seconds
        if not await self.pauses.begin(record.pause_id, found, stall_seconds=stall_seconds):
            return _BUSY
        log.info(
            "resuming" if isinstance(act, Resume) else "continuing",
            pause_id=record.pause_id,
            thread_id=found.thread_id,
            agent_id=found.agent_id,
            attempt=record.attempts + 1,
        )
        try:
            async with until_nodes_end():
                await self._go_on(record, graph, act, seen)
        except Exception as error:  # noqa: BLE001  (whatever a user's graph raises)
            return self._raised(record, error)
        return await self._confirm(graph, found)

    async def _go_on(
        self, record: PauseRecord, graph: Any, act: Resume | CarryOn, seen: Inspection
    ) -> None:
        found = act.found
        config = run_config(found.thread_id, record.pause_id, seen.configurable)
        if isinstance(act, Resume):
            answer = self._answer(record)
            await self.threads.resume(graph, found, answer, config, strict=act.strict)
        else:
            await self.threads.carry_on(graph, config)

    def _answer(self, record: PauseRecord) -> Any:
        """The proof as the gate will verify it: a JSON object, or its text.

        Parsing loses how numbers were written; where a signer's notation cannot be found again
        from the parsed form, the text itself is handed over.
        """
        answer = json.loads(record.body)
        if "signature" in answer:
            try:
                self.verify(answer)
            except ProofError:
                return record.body.decode()
        return answer

    def _raised(self, record: PauseRecord, error: Exception) -> Outcome:
        if is_transient(error) or isinstance(error, _OUT_OF_REACH):
            return patience_for(
                "transient",
                f"the database or the network failed: {brief(error)}",
                otherwise=f"the database or the network kept failing: {brief(error)}",
                waited=age(record.started_at or self.clock(), self.clock()),
                limit=self.policy.outage_seconds,
                longest=60.0,
            )
        if was_refused(error):
            return Parked(
                "refused",
                "the gate refused the proof: give the graph's LoopPause client the same keys "
                "as the receiver, then retry",
                brief(error),
            )
        if record.attempts >= len(self.policy.retry_delays):
            return Parked(
                "raised",
                f"the graph raised {record.attempts + 1} times, the last time {brief(error)}: "
                "mend it, then retry",
                _trace(error),
            )
        delay = self.policy.retry_delays[record.attempts]
        return Failed(brief(error), _trace(error), retry_in=delay * random.uniform(0.8, 1.2))

    async def _confirm(self, graph: Any, found: Found) -> Outcome:
        seen = await self.threads.inspect(graph, found.thread_id)
        if found.interrupt_id in seen.pending:
            return Parked("not_advanced", "the thread still waits at the gate it was resumed at")
        return Resumed(seen.waiting_pauses())

    async def _store(self, record: PauseRecord, outcome: Outcome, found: Found | None) -> Outcome:
        await self.pauses.finish(record.pause_id, outcome, found)
        _log_outcome(record, outcome, found)
        return outcome


_OUT_OF_REACH = (httpx.TransportError, LoopPauseUnavailable)
_BUSY = Postponed("busy", "another resume of this thread is running", retry_in=0.5)
_SHARED_PAUSE = Parked(
    "shared_pause",
    "several threads hibernate at this pause: one approval must not open two gates. "
    "Resume the right one by hand",
)


def _log_outcome(record: PauseRecord, outcome: Outcome, found: Found | None) -> None:
    facts: dict[str, Any] = {"pause_id": record.pause_id, "decision": record.decision}
    if found is not None:
        facts |= {"thread_id": found.thread_id, "agent_id": found.agent_id}
    match outcome:
        case Resumed(next_pauses):
            log.info("resumed", **facts, next_pauses=list(next_pauses))
        case AlreadyResumed(reason):
            log.info("already_resumed", **facts, reason=reason)
        case Failed(reason, _, retry_in):
            log.warning("graph_raised", **facts, error=reason, retry_in=round(retry_in, 1))
        case Parked(code, reason):
            log.warning("parked", **facts, code=code, reason=reason)
        case Postponed(code, reason, retry_in):
            log.info("postponed", **facts, code=code, reason=reason, retry_in=round(retry_in, 1))


def brief(error: BaseException) -> str:
    """The error in one line, without the notes that libraries add behind it."""
    return f"{type(error).__name__}: {_last_line(str(error))}"[:500]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-ERROR_CHARS:]
