"""The values that move through the receiver: proof in, pause record, interrupt, outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from .checkpoint_ids import checkpoint_id_at, time_of
from .question import question_of

__all__ = [
    "AlreadyResumed",
    "Failed",
    "Found",
    "Inspection",
    "Outcome",
    "Parked",
    "PauseRecord",
    "Place",
    "Postponed",
    "Raised",
    "Receipt",
    "Resumed",
    "Standing",
    "State",
    "Waiting",
    "checkpoint_id_at",
    "time_of",
    "utc_now",
]


def utc_now() -> datetime:
    """The clock of whatever is given no other."""
    return datetime.now(UTC)


class State(StrEnum):
    """Where a pause stands; `answered` to `failed` have work to do, `discarded` is for good."""

    WAITING = "waiting"
    ANSWERED = "answered"
    RESUMING = "resuming"
    RESUMED = "resumed"
    FAILED = "failed"
    PARKED = "parked"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Receipt:
    """What became of one delivery, after commit."""

    pause_id: str
    result: Literal["accepted", "duplicate", "conflict"]


@dataclass(frozen=True)
class Standing:
    """Where a pause stands, and its answer if there is one. `unknown` has no record."""

    state: str
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PauseRecord:
    """An answered pause as it stands in the database. Times are UTC.

    `collected_at` is when a client that waited for the answer first took it.
    """

    pause_id: str
    state: State
    body: bytes = field(repr=False)
    decision: str
    received_at: datetime
    attempts: int = 0
    started_at: datetime | None = None
    thread_id: str | None = None
    interrupt_id: str | None = None
    reason_code: str | None = None
    collected_at: datetime | None = None
    responder: str | None = field(default=None, repr=False)
    traceparent: str | None = None


@dataclass(frozen=True)
class Raised:
    """An interrupt of a root graph, as the sweep reads it. `pending` if nothing has answered it."""

    checkpoint_id: str
    thread_id: str
    task_id: str
    pending: bool
    interrupts: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Waiting:
    """A pause that a thread hibernates at, with no answer yet. Times are UTC."""

    pause_id: str
    thread_id: str
    interrupt_id: str
    agent_id: str | None
    asked_at: datetime | None
    expires_at: datetime | None
    question: Mapping[str, Any] | None = None


class Place(Protocol):
    """Where a pause hibernates: an interrupt of a thread, or a method of a flow."""

    @property
    def thread_id(self) -> str:
        """The thread, or the flow."""

    @property
    def interrupt_id(self) -> str:
        """The interrupt, or the method that asked."""

    @property
    def agent_id(self) -> str | None:
        """The agent that asked, if it said so."""

    @property
    def asked_at(self) -> datetime | None:
        """When it hibernated, where that is known."""

    @property
    def question(self) -> Mapping[str, Any] | None:
        """What was asked and of whom, if it says so."""

    @property
    def traceparent(self) -> str | None:
        """The agent's span in which it asked, if it said so."""

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint, where there are such."""

    @property
    def checkpoint_ns(self) -> str | None:
        """The namespace of that checkpoint; empty for the root graph's."""


@dataclass(frozen=True)
class Found:
    """One row of the checkpointer that holds the interrupt of a pause.

    `stored` says whether its checkpoint row exists, `ahead` whether it is newer than every
    checkpoint of its namespace: the agent's process may yet write it. `open` says that nothing has
    answered it there: it is the namespace's last checkpoint, and its task has written nothing
    but signs of waiting. `error` is what the task raised last, if it did.
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    task_id: str
    interrupt_id: str
    value: Mapping[str, Any]
    stored: bool
    ahead: bool
    open: bool = False
    error: str | None = None

    @property
    def root_task(self) -> tuple[str, str | None]:
        """Name and, where LangGraph gives it, id of the root graph's task that holds it."""
        name, _, task_id = self.checkpoint_ns.split("|", 1)[0].partition(":")
        return name, task_id or None

    @property
    def asked_at(self) -> datetime | None:
        """When its checkpoint was made."""
        return time_of(self.checkpoint_id)

    @property
    def agent_id(self) -> str | None:
        """The agent that asked, if the gate said so (looppause 0.1.0's does not)."""
        agent = self.value.get("agent_id")
        return agent if isinstance(agent, str) else None

    @property
    def graph(self) -> str | None:
        """The graph that asked, if the gate names it."""
        graph = self.value.get("graph")
        return graph if isinstance(graph, str) else None

    @property
    def question(self) -> Mapping[str, Any] | None:
        """What was asked and of whom, if the gate said so."""
        return question_of(self.value)

    @property
    def traceparent(self) -> str | None:
        """The agent's span in which it asked, if the gate said so."""
        given = self.value.get("traceparent")
        return given if isinstance(given, str) else None


@dataclass(frozen=True)
class Inspection:
    """What the checkpointer says of a thread, seen through its graph, under the lock.

    `pending` maps interrupt ids to their values. `tasks` names the tasks of the last superstep by
    id, `unfinished` those of them with no result, `unsettled` those of these with no error or
    interrupt either, and `runnable` says whether the thread could go on without an answer.
    `resumed_by` is the pause that our last run on it answered, `configurable` what its last run
    was configured with.
    """

    exists: bool
    checkpoint_id: str | None = None
    created_at: datetime | None = None
    pending: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    unfinished: Mapping[str, str] = field(default_factory=dict)
    unsettled: Mapping[str, str] = field(default_factory=dict)
    runnable: bool = False
    resumed_by: str | None = None
    configurable: Mapping[str, Any] = field(default_factory=dict)
    at_breakpoint: bool = False

    def pending_for(self, pause_id: str) -> tuple[str, ...]:
        """The pending interrupts that wait for this pause."""
        return tuple(name for name, value in self.pending.items() if _asks(value) == pause_id)

    def waiting_pauses(self) -> tuple[str, ...]:
        """The pauses the thread hibernates at now."""
        asked = (_asks(value) for value in self.pending.values())
        return tuple(pause_id for pause_id in asked if pause_id is not None)


def _asks(value: Any) -> str | None:
    pause_id = value.get("pause_id") if isinstance(value, Mapping) else None
    return pause_id if isinstance(pause_id, str) else None


@dataclass(frozen=True)
class Resumed:
    """The thread went on: it finished, or hibernates at `next_pauses`."""

    next_pauses: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlreadyResumed:
    """Somebody else had resumed the thread; nothing was done."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The graph raised; it is tried again in `retry_in` seconds. `error` has the traceback."""

    reason: str
    error: str
    retry_in: float


@dataclass(frozen=True)
class Parked:
    """A person has to act; nothing was consumed. `code` names the rule, for filters and counts."""

    code: str
    reason: str
    error: str | None = None


@dataclass(frozen=True)
class Postponed:
    """Not yet: look again in `retry_in` seconds. Counts as no attempt."""

    code: str
    reason: str
    retry_in: float


Outcome = Resumed | AlreadyResumed | Failed | Parked | Postponed
