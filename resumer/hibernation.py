"""What the rules ask of whatever hibernates: LangGraph's threads and CrewAI's flows."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from looppause_sdk.proof import DENIAL_STATUSES

from .model import Outcome, Parked, PauseRecord, Place
from .rules import Policy

__all__ = ["Fault", "Hibernating", "Run", "Verb", "brief", "for_gate"]

ERROR_CHARS = 8_000

Verb = Literal["resuming", "continuing"]


@dataclass(frozen=True)
class Fault:
    """What a graph or a flow raised: in one line, and with its traceback."""

    reason: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        """The fault that was raised as `error`."""
        return cls(brief(error), "".join(traceback.format_exception(error))[-ERROR_CHARS:])

    @classmethod
    def told(cls, text: str) -> Fault:
        """The fault of which only the text is left."""
        return cls(text[:500], text[-ERROR_CHARS:])


class Run(Protocol):
    """A run that the rules have decided on, of one thread or flow."""

    @property
    def place(self) -> Place:
        """Where it goes on from."""

    @property
    def verb(self) -> Verb:
        """What it does, for the log."""

    async def go_on(self, answer: Any) -> None:
        """Run to the end or the next gate. Raises whatever the graph or flow raises."""

    def was_refused(self, error: Exception) -> bool:
        """Whether the gate refused the answer, and waits on."""

    def repeats_nothing(self) -> bool:
        """Whether going on again, after it raised, runs nothing that has run to its end."""

    async def confirm(self, now: datetime) -> Outcome | Fault:
        """What became of it, by what is stored."""


class Hibernating(Protocol):
    """One kind of what hibernates."""

    @property
    def noun(self) -> str:
        """What a person registers for it: `graph` or `flow`."""

    @property
    def setting(self) -> str:
        """Where they register it."""

    def lock_of(self, place: Place) -> str:
        """The name of the lock that a run of it needs."""

    async def locate(self, pause_id: str) -> Sequence[Place] | Parked:
        """Where it hibernates at this pause, or did.

        Raises `RemoteAway` or `RemoteRefused` of what is kept elsewhere.
        """

    async def load(self, place: Any) -> Any:
        """The graph or flow class of what hibernates at this place, one that `locate` gave.

        Raises `GraphNotLoaded`, `GraphAmbiguous` if it could be several.
        """

    async def decide(
        self,
        record: PauseRecord,
        places: Sequence[Any],
        loaded: Any,
        now: datetime,
        policy: Policy,
    ) -> Run | Outcome:
        """Look at it, under its lock, and choose what to do."""


def for_gate(record: PauseRecord, value: Mapping[str, Any], answer: Any) -> Any:
    """The answer as the gate that asked with `value` takes it."""
    if record.decision in DENIAL_STATUSES and "action_digest" not in value:
        # The published 0.1.0's gate looks for a decision, which a signed notice has not.
        return {"pause_id": record.pause_id, "status": record.decision}
    return answer


def brief(error: BaseException) -> str:
    """The error in one line, without the notes that libraries add behind it."""
    return f"{type(error).__name__}: {_last_line(str(error))}"[:500]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]
