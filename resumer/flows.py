"""CrewAI's side: flows that hibernate, located in their tables and resumed through the SDK.

The only module that knows of CrewAI, which is imported once a flow is registered.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from looppause_sdk.errors import GateError, NotWaiting, ProofError
from looppause_sdk.flow_tables import flow_lock

from .db import Pool
from .errors import GraphNotLoaded
from .graphs import Graphs
from .hibernation import Fault, Run, Verb
from .model import (
    AlreadyResumed,
    Outcome,
    Parked,
    PauseRecord,
    Place,
    Resumed,
    Waiting,
)
from .own_loop import in_own_loop
from .question import question_of
from .rules import Policy
from .sql import statement

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["FlowPauses", "Flows"]

NOT_INSTALLED = (
    "flows need CrewAI beside the receiver ({}): pip install 'looppause-sdk[crewai]', "
    "or register no flow"
)


class Flows(Graphs):
    """Flow classes by agent id: the class, or `module:attribute` as for graphs."""

    async def build(self, name: str) -> Any:
        """The class registered under `name`. Raises `GraphNotLoaded`."""
        runs = _flow_runs(name)
        try:
            flow_class = self.imported(name)
        except (Exception, SystemExit) as error:  # a script without a main guard ends itself
            raise GraphNotLoaded(f"flow {name!r}: {type(error).__name__}: {error}") from error
        if not (inspect.isclass(flow_class) and issubclass(flow_class, runs.Flow)):
            raise GraphNotLoaded(
                f"flow {name!r} is no subclass of crewai's Flow: register the class itself, or "
                "'module:attribute'"
            )
        return flow_class


@dataclass(frozen=True)
class FlowPlace:
    """One row of the flow tables: where a flow hibernates, or did."""

    pause_id: str
    flow_id: str
    flow_class: str
    method_name: str
    agent_id: str | None
    asked_at: datetime
    is_ended: bool
    asked: Any = None
    traceparent: str | None = None
    checkpoint_id: None = None
    checkpoint_ns: None = None

    @property
    def thread_id(self) -> str:
        """The flow, in the column that names threads."""
        return self.flow_id

    @property
    def interrupt_id(self) -> str:
        """The method that asked."""
        return self.method_name

    @property
    def question(self) -> Mapping[str, Any] | None:
        """What was asked and of whom, as the gate has noted it."""
        return question_of(self.asked)


@dataclass(frozen=True)
class FlowPauses:
    """The pauses that flows hibernate at, in the database of the agents' state.

    `url` is that of `pool`'s database: a run has connections of its own.
    """

    pool: Pool
    flows: Flows
    url: str = field(repr=False)
    noun = "flow"
    setting = "RESUMER_FLOWS"

    def lock_of(self, place: Place) -> str:
        """The lock that `aresume_flow` takes too."""
        return flow_lock(place.thread_id)

    async def locate(self, pause_id: str) -> list[FlowPlace]:
        """Where a flow has stored that it hibernates at this pause."""
        rows = await self._rows("locate_flow", pause_id=pause_id)
        return [FlowPlace(**row) for row in rows]

    async def load(self, place: FlowPlace) -> Any:
        """The flow class of the agent that asked. Raises `GraphNotLoaded`."""
        name = self.flows.name_for(place.agent_id)
        if name is None:
            raise GraphNotLoaded(f"no flow is registered for agent {place.agent_id!r}")
        return await self.flows.load(name)

    async def decide(
        self,
        record: PauseRecord,
        places: Sequence[FlowPlace],
        loaded: Any,
        now: datetime,  # noqa: ARG002  # nothing of a flow becomes due by waiting
        policy: Policy,  # noqa: ARG002  # as above
    ) -> Run | Outcome:
        """Look at the flow's row again and choose.

        A row that was claimed before and has not ended is a run that died: the lock is ours.
        """
        rows = await self.locate(record.pause_id)
        if not rows or rows[0].is_ended:
            return await self._ended(record, places[0].flow_id)
        try:
            _flow_runs(rows[0].flow_class).gate_of(loaded, rows[0].flow_class, rows[0].method_name)
        except GateError as error:
            return Parked("no_gate", f"{error}: deploy a version that fits, then retry")
        return _FlowRun(self, loaded, rows[0])

    async def kick_off(self, flow_class: Any, inputs: dict[str, Any]) -> str:
        """Run a new flow until it ends or hibernates, as an agent's would; return its id."""
        runs = _flow_runs(flow_class.__name__)
        flow = flow_class(persistence=runs.PostgresFlowPersistence(self.url))
        await asyncio.to_thread(flow.kickoff, inputs=inputs)
        return str(flow.flow_id)

    async def waiting_at(self, flow_id: str) -> tuple[str, ...]:
        """The pauses that the flow hibernates at now."""
        rows = await self._rows("flow_waits", flow_id=flow_id)
        return tuple(row["pause_id"] for row in rows)

    async def has_healed(self, pause_id: str, code: str) -> bool:
        """Whether the reason to park this pause has passed by itself."""
        places = await self.locate(pause_id)
        if not places or code != "no_graph":
            return bool(places)
        try:
            await self.load(places[0])
        except GraphNotLoaded:
            return False
        return True

    async def unnoted(self, *, limit: int) -> list[Waiting]:
        """Pauses without an answer that the sweep was not told of, or not for hours."""
        rows = await self._rows("flows_unnoted", limit=limit)
        return [Waiting(question=question_of(row.pop("asked")), **row) for row in rows]

    async def noted(self, pauses: Sequence[Waiting]) -> None:
        """Remember that the sweep knows of these."""
        await self._rows("flows_noted", pause_ids=[pause.pause_id for pause in pauses])

    async def _ended(self, record: PauseRecord, flow_id: str) -> Resumed | AlreadyResumed:
        if record.started_at is None:
            return AlreadyResumed("the flow had gone on from this pause already")
        return Resumed(await self.waiting_at(flow_id))

    async def _rows(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(statement(name), parameters)
            return await cursor.fetchall()


@dataclass
class _FlowRun:
    """One run of a flow, from the gate it hibernates at."""

    side: FlowPauses
    flow_class: Any
    place: FlowPlace
    verb: Verb = "resuming"
    has_begun: bool = False
    refusal: ProofError | None = None

    async def go_on(self, answer: Any) -> None:
        # CrewAI stores and loads by blocking calls, in whatever event loop it runs.
        await in_own_loop(lambda: self._go_on(answer))

    async def _go_on(self, answer: Any) -> None:
        runs = _flow_runs(self.place.flow_class)
        persistence = runs.PostgresFlowPersistence(self.side.url)
        pause = await asyncio.to_thread(persistence.find, self.place.pause_id)
        if pause is None:
            raise NotWaiting(f"no flow waits for pause {self.place.pause_id} any more")
        try:
            judged = runs.judged(self.flow_class, pause, answer)
        except ProofError as error:
            self.refusal = error
            raise
        self.has_begun = True
        await runs.go_on(judged, persistence)

    def was_refused(self, error: Exception) -> bool:
        return error is self.refusal

    def repeats_nothing(self) -> bool:
        return not self.has_begun  # CrewAI goes on from the gate, whatever had been done since

    async def confirm(self, now: datetime) -> Outcome | Fault:  # noqa: ARG002  # as in decide
        [place] = await self.side.locate(self.place.pause_id)
        if not place.is_ended:
            return Parked("not_advanced", "the flow still waits at the gate it was resumed at")
        return Resumed(await self.side.waiting_at(place.flow_id))


def _flow_runs(name: str) -> ModuleType:
    try:
        from looppause_sdk.crewai import flow_runs  # noqa: PLC0415  # an extra, perhaps missing
    except ImportError as error:
        raise GraphNotLoaded(f"flow {name!r}: {NOT_INSTALLED.format(error)}") from error
    return flow_runs
