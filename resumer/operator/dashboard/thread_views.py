"""What a page shows of a thread and its graph, where this process has the graph.

All of it is an extra: whatever goes wrong is said on the page, and the page is shown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resumer.db import Pool
from resumer.graphs import Graphs
from resumer.model import Found
from resumer.which_graph import graph_of

from .graph_layout import Drawing, Edge, lay_out

__all__ = ["GraphView", "ThreadState", "ThreadView", "ThreadViews"]

PATIENCE = 10.0  # seconds for a graph to load or a thread to be read
MOST_VALUES = 40
PREVIEW_CHARS = 300
MOST_NODES = 120


@dataclass(frozen=True)
class GraphView:
    """A graph as it is drawn; `gates` are the nodes that asked for the pause."""

    drawing: Drawing | None
    mermaid: str
    gates: frozenset[str]

    @property
    def told(self) -> str:
        """The drawing in words."""
        if self.drawing is None:
            return ""
        names = ", ".join(box.label for box in self.drawing.boxes)
        asked = f"; the gate is {', '.join(sorted(self.gates))}" if self.gates else ""
        return f"The graph's nodes from top to bottom: {names}{asked}"


@dataclass(frozen=True)
class ThreadState:
    """Where a thread stands now: what runs next, what it waits for, what its state holds."""

    next_nodes: tuple[str, ...]
    waiting_for: tuple[str, ...]
    step: int | None
    at: datetime | None
    values: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class ThreadView:
    """The extras of one pause's page; `problem` says why some are missing."""

    graph: GraphView | None = None
    state: ThreadState | None = None
    problem: str = ""


@dataclass(frozen=True)
class ThreadViews:
    """Reads threads for people, and runs none. `pool` is of the checkpointer's database."""

    pool: Pool
    graphs: Graphs
    serializer: Any = None

    async def look(self, pause_id: str, agent_id: str | None, thread_id: str | None) -> ThreadView:
        """All there is to see; an empty view where no graph is registered for the agent."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._look(pause_id, agent_id, thread_id)
        except Exception as error:  # noqa: BLE001  (whatever a user's graph raises)
            return ThreadView(problem=f"{type(error).__name__}: {error}"[:500])

    async def _look(self, pause_id: str, agent_id: str | None, thread_id: str | None) -> ThreadView:
        from resumer.threads import Threads  # noqa: PLC0415 - loads LangGraph, for graphs to show

        loaded = [await self._load(name) for name in self.graphs.names_for(agent_id)]
        threads = Threads.of(self.pool, loaded, self.serializer)
        places = await threads.locate(pause_id)
        if places and (loaded or places[0].graph):
            graph = await graph_of(self.graphs, self.pool, places[0])
        elif len(loaded) == 1:
            graph = loaded[0]
        else:
            return ThreadView()
        attached = threads.attach(graph)
        gates = await _gates(attached, places)
        drawn = _view(await graph.aget_graph(), gates)
        state = None
        if thread := (places[0].thread_id if places else thread_id):
            config = {"configurable": {"thread_id": thread}}
            state = _state(await attached.aget_state(config))
        return ThreadView(drawn, state)

    async def _load(self, name: str) -> Any:
        # An import may take seconds, and deliveries are taken meanwhile.
        await asyncio.to_thread(self.graphs.imported, name)
        return await self.graphs.load(name)


async def _gates(graph: Any, places: list[Found]) -> frozenset[str]:
    """The root graph's nodes that asked: from the namespace, else the checkpoint's tasks."""
    nested = {place.root_task[0] for place in places if place.checkpoint_ns}
    if nested or not places:
        return frozenset(nested)
    place = places[0]
    ids = {"thread_id": place.thread_id, "checkpoint_ns": "", "checkpoint_id": place.checkpoint_id}
    snapshot = await graph.aget_state({"configurable": ids})
    return frozenset(task.name for task in snapshot.tasks if task.id == place.task_id)


def _view(graph: Any, gates: frozenset[str]) -> GraphView:
    labels = {name: _label(name) for name in graph.nodes}
    edges = [Edge(e.source, e.target, bool(e.conditional), str(e.data or "")) for e in graph.edges]
    drawing = lay_out(labels, edges) if len(labels) <= MOST_NODES else None
    return GraphView(drawing, graph.draw_mermaid(with_styles=False), gates & labels.keys())


def _label(name: str) -> str:
    return {"__start__": "start", "__end__": "end"}.get(name, name)


def _state(snapshot: Any) -> ThreadState | None:
    if snapshot.created_at is None:
        return None
    values = snapshot.values if isinstance(snapshot.values, Mapping) else {"value": snapshot.values}
    return ThreadState(
        next_nodes=tuple(dict.fromkeys(snapshot.next)),
        waiting_for=tuple(filter(None, (_pause_of(found.value) for found in snapshot.interrupts))),
        step=(snapshot.metadata or {}).get("step"),
        at=datetime.fromisoformat(snapshot.created_at),
        values=tuple((str(k), _kind(v), _preview(v)) for k, v in [*values.items()][:MOST_VALUES]),
    )


def _pause_of(value: Any) -> str | None:
    pause_id = value.get("pause_id") if isinstance(value, Mapping) else None
    return pause_id if isinstance(pause_id, str) else None


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"list of {len(value)}"
    return {"str": "text", "dict": "object", "NoneType": "nothing", "bool": "yes or no"}.get(
        type(value).__name__, type(value).__name__
    )


def _preview(value: Any) -> str:
    if isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text if len(text) <= PREVIEW_CHARS else f"{text[:PREVIEW_CHARS]}…"


def _plain(value: Any) -> Any:
    """What JSON has no form for: a message's text, else what kind of thing it is."""
    content = getattr(value, "content", None)
    return content if isinstance(content, str) else f"<{type(value).__name__}>"
