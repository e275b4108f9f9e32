"""How long the agents around a tool call will wait for it.

CrewAI ends an agent at its `max_execution_time` without ending the agent's tools: a tool that
waits for a person would act on an answer nobody waits for any more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from crewai.context import capture_execution_context
from crewai.events import AgentExecutionStartedEvent
from crewai.events.event_bus import crewai_event_bus

from looppause_sdk.errors import GateError

__all__ = ["Patience"]


@dataclass(frozen=True)
class Patience:
    """When the first of the agents around a call gives up, in seconds on the monotonic clock."""

    end: float | None

    @classmethod
    def of_agents(cls) -> Patience:
        """That of the agents this thread works for; outside a crew there are none."""
        ends = _ends()
        if not ends:
            return cls(None)
        seconds = (min(ends) - datetime.now(timezone.utc)).total_seconds()
        return cls(time.monotonic() + seconds)

    def at_most(self, seconds: float | None) -> float | None:
        """The shorter of `seconds` and what is left; None if nothing limits it."""
        if self.end is None:
            return seconds
        left = max(0.0, self.end - time.monotonic())
        return left if seconds is None else min(seconds, left)

    def check(self) -> None:
        """Raise `GateError` once an agent has given up: nothing may happen in its name."""
        if self.end is not None and time.monotonic() >= self.end:
            raise GateError(
                "the agent's max_execution_time passed before the answer was there: give the "
                "agent more time than people need, or none at all and the gate a deadline"
            )


def _ends() -> list[datetime]:
    state = crewai_event_bus.runtime_state
    if state is None:
        return []
    scopes = capture_execution_context().event_id_stack
    nodes = [state.event_record.get(event_id) for event_id, _ in scopes]
    ends = [_end_of(node.event) for node in nodes if node is not None]
    return [end for end in ends if end is not None]


def _end_of(event: object) -> datetime | None:
    if not isinstance(event, AgentExecutionStartedEvent):
        return None
    seconds = getattr(event.agent, "max_execution_time", None)
    return None if seconds is None else event.timestamp + timedelta(seconds=seconds)
