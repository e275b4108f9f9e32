"""Load the user's graphs, and find them by what a gate says."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from .errors import GraphNotLoaded
from .factories import call_factory
from .graph_file import FiledGraph
from .holding import Holding, is_context_manager
from .importing import attribute_of

__all__ = ["ANY_AGENT", "Graphs"]

ANY_AGENT = "*"


@dataclass
class Graphs:
    """Graphs by agent id: compiled, built by a factory, or named `module:attribute`.

    A name may also be a path, `agents/procurement.py:graph`. A factory may be a context manager:
    it is entered once, when its graph is first needed, and held open until `running` ends. The
    agent id `*` stands for every agent that has no graph of its own.
    """

    registered: Mapping[str, Any]
    _loaded: dict[str, Any] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _holding: Holding = field(default_factory=Holding)

    def name_for(self, agent_id: str | None, graph: str | None = None) -> str | None:
        """The registered name that serves this agent, or None if no graph does.

        A gate that names its `graph` is taken at its word. An interrupt that says nothing belongs
        to the only graph there is.
        """
        said = agent_id if graph is None else graph
        if said in self.registered:
            return said
        if ANY_AGENT in self.registered:
            return ANY_AGENT
        if said is None and len(self.registered) == 1:
            return next(iter(self.registered))
        return None

    def names_for(self, agent_id: str | None, graph: str | None = None) -> list[str]:
        """That name alone; where there is none, those among which the thread itself has to tell.

        Names of a langgraph.json are graph ids: that no agent is called so says nothing.
        """
        name = self.name_for(agent_id, graph)
        if name is not None or graph is not None:
            return [] if name is None else [name]
        return [
            name
            for name, spec in self.registered.items()
            if agent_id is None or isinstance(spec, FiledGraph)
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold open what factories open, until the body ends; what was loaded is forgotten then."""
        try:
            yield
        finally:
            self._loaded.clear()
            await self._holding.leave_all()

    async def load(self, name: str) -> Any:
        """The compiled graph registered under `name`. Raises `GraphNotLoaded`."""
        if name not in self._loaded:
            async with self._loading:
                if name not in self._loaded:
                    self._loaded[name] = await self.build(name)
        return self._loaded[name]

    async def reload(self, name: str) -> Any:
        """Load the graph again; if that raises `GraphNotLoaded`, the one from before is kept."""
        self._loaded[name] = await self.build(name)
        return self._loaded[name]

    async def load_all(self) -> list[Any]:
        """Every graph, so that a mistake shows at the start. Raises `GraphNotLoaded`."""
        return [await self.load(name) for name in self.registered]

    def imported(self, name: str) -> Any:
        """What the name stands for, imported if it has to be. Raises whatever importing raises."""
        spec = self.registered[name]
        if isinstance(spec, FiledGraph):
            return spec.imported()
        return attribute_of(spec) if isinstance(spec, str) else spec

    async def build(self, name: str) -> Any:
        """A compiled graph of what is registered under `name`. Raises `GraphNotLoaded`."""
        try:
            graph = await self._made(self.imported(name))
        except (Exception, SystemExit) as error:  # a script without a main guard ends itself
            raise GraphNotLoaded(f"graph {name!r}: {type(error).__name__}: {error}") from error
        if not _is_graph(graph):
            raise GraphNotLoaded(
                f"graph {name!r} is a {type(graph).__name__}; register a compiled LangGraph "
                "graph, a function or context manager that gives one, or 'module:attribute'"
            )
        return graph

    async def _made(self, graph: Any) -> Any:
        if not _is_graph(graph) and not is_context_manager(graph) and callable(graph):
            graph = call_factory(graph)
        if inspect.isawaitable(graph):
            graph = await graph
        if not _is_graph(graph) and is_context_manager(graph):
            graph = await self._holding.enter(graph)
        if hasattr(graph, "compile") and not _is_graph(graph):
            graph = graph.compile()
        return graph


def _is_graph(candidate: Any) -> bool:
    return all(hasattr(candidate, name) for name in ("ainvoke", "aget_state", "checkpointer"))
