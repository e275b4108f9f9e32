"""What an agent's own process does with its threads, or with its flows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from resumer.dev_agent import Standing
from resumer.flows import FlowPauses
from resumer.threads import Threads

__all__ = ["FlowRuns", "GraphRuns"]


@dataclass
class GraphRuns:
    """Threads of one graph, which may be exchanged."""

    threads: Threads
    graph: Any
    noun: str = "thread"

    def use(self, graph: Any) -> None:
        """Go on with another version of it."""
        self.graph = graph

    async def start(self, state: Any) -> str:
        """Run a new thread until it ends or hibernates; return its id."""
        thread_id = str(uuid.uuid4())
        await self.threads.start(self.graph, thread_id, state)
        return thread_id

    async def where(self, pause_id: str) -> list[str]:
        """The threads that hibernate at this pause, or did."""
        return [found.thread_id for found in await self.threads.locate(pause_id)]

    async def waiting_at(self, name: str) -> tuple[str, ...]:
        """The pauses that a thread hibernates at."""
        return (await self.threads.inspect(self.graph, name)).waiting_pauses()

    async def standing(self, name: str, pause_id: str) -> Standing | None:
        """What became of a thread once the pause is over and nothing runs; None till then."""
        seen = await self.threads.inspect(self.graph, name)
        if pause_id in seen.waiting_pauses() or seen.runnable:
            return None
        values = await self.threads.values(self.graph, name)
        return Standing(seen.waiting_pauses(), values, waits=bool(seen.pending))


@dataclass
class FlowRuns:
    """Runs of one CrewAI flow class, which may be exchanged."""

    side: FlowPauses
    flow_class: Any
    noun: str = "flow"

    def use(self, flow_class: Any) -> None:
        """Go on with another version of it."""
        self.flow_class = flow_class

    async def start(self, state: Any) -> str:
        """Run a new flow until it ends or hibernates; return its id."""
        return await self.side.kick_off(self.flow_class, state)

    async def where(self, pause_id: str) -> list[str]:
        """The flow that hibernates at this pause, or did."""
        return [place.flow_id for place in await self.side.locate(pause_id)]

    async def waiting_at(self, name: str) -> tuple[str, ...]:
        """The pause that a flow hibernates at."""
        return await self.side.waiting_at(name)

    async def standing(self, name: str, pause_id: str) -> Standing | None:
        """What became of a flow once the pause is over; None till then."""
        if not all(place.is_ended for place in await self.side.locate(pause_id)):
            return None
        waiting = await self.side.waiting_at(name)
        return Standing(waiting, None, waits=bool(waiting))
