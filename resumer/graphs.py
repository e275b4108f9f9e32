"""Load the user's graphs and find the one that an interrupt belongs to."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import GraphNotLoaded

__all__ = ["ANY_AGENT", "Graphs", "attribute_of"]

ANY_AGENT = "*"


@dataclass
class Graphs:
    """Graphs by agent id: compiled, built by a factory, or named `module:attribute`.

    A name may also be a path, `agents/procurement.py:graph`. The agent id `*` stands for every
    agent that has no graph of its own.
    """

    registered: Mapping[str, Any]
    _loaded: dict[str, Any] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def name_for(self, agent_id: str | None) -> str | None:
        """The registered name that serves this agent, or None if no graph does.

        An interrupt that does not say who asked belongs to the only graph there is.
        """
        if agent_id in self.registered:
            return agent_id
        if ANY_AGENT in self.registered:
            return ANY_AGENT
        if agent_id is None and len(self.registered) == 1:
            return next(iter(self.registered))
        return None

    async def load(self, name: str) -> Any:
        """The compiled graph registered under `name`. Raises `GraphNotLoaded`."""
        if name not in self._loaded:
            async with self._loading:
                if name not in self._loaded:
                    self._loaded[name] = await self.build(name, self.registered[name])
        return self._loaded[name]

    async def reload(self, name: str) -> Any:
        """Load the graph again; if that raises `GraphNotLoaded`, the one from before is kept."""
        self._loaded[name] = await self.build(name, self.registered[name])
        return self._loaded[name]

    async def load_all(self) -> list[Any]:
        """Every graph, so that a mistake shows at the start. Raises `GraphNotLoaded`."""
        return [await self.load(name) for name in self.registered]

    async def build(self, name: str, spec: Any) -> Any:
        """The compiled graph that was registered as `spec`. Raises `GraphNotLoaded`."""
        try:
            graph = attribute_of(spec) if isinstance(spec, str) else spec
            if not _is_graph(graph) and callable(graph):
                graph = graph()
            if inspect.isawaitable(graph):
                graph = await graph
            if hasattr(graph, "compile") and not _is_graph(graph):
                graph = graph.compile()
        except (Exception, SystemExit) as error:  # a script without a main guard ends itself
            raise GraphNotLoaded(f"graph {name!r}: {type(error).__name__}: {error}") from error
        if not _is_graph(graph):
            raise GraphNotLoaded(
                f"graph {name!r} is a {type(graph).__name__}; register a compiled LangGraph "
                "graph, a function that returns one, or 'module:attribute'"
            )
        return graph


def _is_graph(candidate: Any) -> bool:
    return all(hasattr(candidate, name) for name in ("ainvoke", "aget_state", "checkpointer"))


def attribute_of(path: str) -> Any:
    """What `module:attribute` or `path.py:attribute` names. Raises whatever importing raises."""
    location, _, attribute = path.rpartition(":")
    if not location or not attribute:
        raise ValueError(f"{path!r} is not module:attribute")
    found: Any = _from_file(Path(location)) if location.endswith(".py") else _module(location)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _module(name: str) -> ModuleType:
    # A console script does not have the working directory on its path; `python -m` does.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    file = path.resolve()
    name = _module_name(file)
    if name in sys.modules:
        return sys.modules[name]
    if str(file.parent) not in sys.path:  # last, so that it hides nothing
        sys.path.append(str(file.parent))
    return _execute(name, file)


def _module_name(file: Path) -> str:
    """One name for each file, and the same in every process: stored state refers to it."""
    name = stem = f"resumer_graph_{file.stem}"
    number = 1
    while name in sys.modules and sys.modules[name].__file__ != str(file):
        number += 1
        name = f"{stem}_{number}"
    return name


def _execute(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that types defined in it can be looked up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
