"""What a LangGraph server says of its threads and runs, as far as the rules need it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from resumer.model import Raised, Waiting, checkpoint_id_at
from resumer.question import question_of
from resumer.storable import as_id
from resumer.watchlist import waiting_of

__all__ = ["ATTEMPT", "MARK", "RemotePlace", "ServerRun", "ServerThread", "Snapshot"]

# In the metadata of the runs we start: a restart knows its own run by them.
MARK = "resumer_pause_id"
ATTEMPT = "resumer_attempt"

Interrupts = tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """Where a pause hibernates on a server: tens of thousands of them are kept in memory.

    `question` is there once the thread was looked at by itself.
    """

    server: str
    thread_id: str
    interrupt_id: str
    agent_id: str | None
    asked_at: datetime | None
    graph: str | None = None
    graph_id: str | None = None
    assistant_id: str | None = None
    traceparent: str | None = None
    question: Mapping[str, Any] | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None


@dataclass(frozen=True)
class ServerRun:
    """One run of a thread; `pause_id` and `attempt` are the mark, if it is one of ours."""

    run_id: str
    status: str
    pause_id: str | None
    attempt: int | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ServerRun:
        """The run that the server describes."""
        marks = document.get("metadata") or {}
        return cls(
            document["run_id"], document.get("status", ""), marks.get(MARK), marks.get(ATTEMPT)
        )

    @property
    def is_going_on(self) -> bool:
        """Whether it waits for its turn, or runs."""
        return self.status in ("pending", "running")

    @property
    def has_failed(self) -> bool:
        """Whether the graph raised, or took longer than the server allows."""
        return self.status in ("error", "timeout")

    @property
    def was_cut_off(self) -> bool:
        """Whether somebody cancelled it; some servers say so as well of a run that hibernates."""
        return self.status == "interrupted"


@dataclass(frozen=True)
class ServerThread:
    """A thread as the server lists it; `interrupts` are those its last run ended with."""

    thread_id: str
    status: str
    updated_at: datetime
    graph_id: str | None
    assistant_id: str | None
    interrupts: Interrupts = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ServerThread:
        """The thread that the server describes."""
        marks = document.get("metadata") or {}
        listed = document.get("interrupts") or {}
        return cls(
            document["thread_id"],
            document.get("status", ""),
            _time(document["updated_at"]),
            marks.get("graph_id"),
            marks.get("assistant_id"),
            tuple(_interrupts(found for task in listed.values() for found in task)),
        )

    def places(self, server: str) -> dict[str, RemotePlace]:
        """Where it hibernates, by pause id."""
        return {
            value["pause_id"]: RemotePlace(
                server,
                self.thread_id,
                interrupt_id,
                as_id(value.get("agent_id")),
                self.updated_at,
                as_id(value.get("graph")),
                self.graph_id,
                self.assistant_id,
                as_id(value.get("traceparent")),
            )
            for interrupt_id, value in self.interrupts
            if as_id(value.get("pause_id"))
        }

    def waiting(self) -> list[Waiting]:
        """Its pauses, for the list of what waits; asked when its last run ended."""
        moment = checkpoint_id_at(self.updated_at)
        return waiting_of(Raised(moment, self.thread_id, "", True, self.interrupts))  # noqa: FBT003


@dataclass(frozen=True)
class Snapshot:
    """A thread looked at under its lock: its runs, newest first, and its checkpointer's state.

    `pending` maps interrupt ids to their values, `errors` are what its tasks raised, and `idle`
    names the tasks that could go on without an answer.
    """

    thread: ServerThread
    runs: tuple[ServerRun, ...]
    checkpoint_id: str | None
    asked_at: datetime | None
    pending: Mapping[str, Mapping[str, Any]]
    errors: tuple[str, ...]
    idle: tuple[str, ...]

    @classmethod
    def of(
        cls, thread: ServerThread, runs: tuple[ServerRun, ...], state: Mapping[str, Any]
    ) -> Snapshot:
        """Put together from what the server answered."""
        tasks = state.get("tasks") or []
        return cls(
            thread,
            runs,
            (state.get("checkpoint") or {}).get("checkpoint_id"),
            _time(state["created_at"]) if state.get("created_at") else None,
            dict(_interrupts(each for task in tasks for each in task.get("interrupts") or ())),
            tuple(str(task["error"]) for task in tasks if task.get("error")),
            tuple(task["name"] for task in tasks if not task.get("interrupts")),
        )

    def pending_for(self, pause_id: str) -> tuple[str, ...]:
        """The pending interrupts that wait for this pause."""
        return tuple(name for name, v in self.pending.items() if v.get("pause_id") == pause_id)

    def waiting_pauses(self) -> tuple[str, ...]:
        """The pauses the thread hibernates at now."""
        asked = (as_id(value.get("pause_id")) for value in self.pending.values())
        return tuple(pause_id for pause_id in asked if pause_id is not None)

    def last_for(self, pause_id: str) -> ServerRun | None:
        """The last run that we started for this pause."""
        return next((run for run in self.runs if run.pause_id == pause_id), None)

    def as_listed(self) -> ServerThread:
        """The thread with the interrupts that its state has, where the list has none."""
        return replace(self.thread, interrupts=tuple(self.pending.items()))

    def place(self, found: RemotePlace, interrupt_id: str | None) -> RemotePlace:
        """Where `found` hibernates, with what the thread says of it now."""
        value = self.pending.get(interrupt_id or "", {})
        return RemotePlace(
            found.server,
            found.thread_id,
            interrupt_id or found.interrupt_id,
            found.agent_id,
            self.asked_at if value else found.asked_at,
            found.graph,
            self.thread.graph_id,
            self.thread.assistant_id,
            found.traceparent,
            question_of(value),
            self.checkpoint_id,
            "",
        )


def _interrupts(
    documents: Iterable[Mapping[str, Any]],
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for document in documents:
        # Servers before LangGraph 0.6 called it so.
        interrupt_id = document.get("id") or document.get("interrupt_id")
        value = document.get("value")
        if isinstance(interrupt_id, str) and isinstance(value, Mapping):
            yield interrupt_id, value


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
