"""Graphs as a `langgraph.json` registers them: where they are, and what has to be set up first."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from .importing import attribute_of

__all__ = ["FiledGraph", "GraphFileError", "is_graph_file", "read_graph_file", "registered"]

EXAMPLE = '{"graphs": {"agent": "./agent.py:graph"}}'
JAVASCRIPT = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx")


class GraphFileError(ValueError):
    """A langgraph.json that cannot be used; `faults` has everything that is wrong with it."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


@dataclass(frozen=True)
class _Surroundings:
    """What the graphs of one file need before they are imported.

    `env` is a file, or the variables themselves, which may be secrets.
    """

    folders: tuple[Path, ...]
    env: Path | Mapping[str, str] = field(repr=False)

    def set_up(self) -> None:
        """Make the folders importable, after all others, and set variables that are not set."""
        for folder in map(str, self.folders):
            if folder not in sys.path:
                sys.path.append(folder)
        for name, value in self._variables().items():
            os.environ.setdefault(name, value)

    def _variables(self) -> dict[str, str]:
        if not isinstance(self.env, Path):
            return dict(self.env)
        # There is none where the variables come from the platform.
        return {name: value for name, value in dotenv_values(self.env).items() if value is not None}


@dataclass(frozen=True)
class FiledGraph:
    """One graph of a langgraph.json, as `module:attribute` or `/path.py:attribute`."""

    name: str
    path: str
    surroundings: _Surroundings

    def __str__(self) -> str:
        return self.path

    def imported(self) -> Any:
        """What the file names. Raises whatever importing it raises."""
        self.surroundings.set_up()
        return attribute_of(self.path)


def registered(given: Any) -> tuple[dict[str, Any], list[str]]:
    """The graphs by name, of a mapping or the path of a langgraph.json; and what is wrong."""
    if not isinstance(given, str | Path):
        return dict(given or {}), []
    try:
        return dict(read_graph_file(given)), []
    except GraphFileError as error:
        return {}, [f"graphs: {given}: {fault}" for fault in error.faults]


def is_graph_file(text: str) -> bool:
    """Whether this names a langgraph.json, rather than a graph."""
    return text.endswith(".json") and "=" not in text


def read_graph_file(path: str | Path) -> dict[str, FiledGraph]:
    """The graphs that the file registers, by name; nothing of them is imported yet.

    Paths in it are from its own folder. Raises `GraphFileError`.
    """
    file = Path(path).expanduser()
    content = _content(file)
    folder = file.resolve().parent
    faults: list[str] = []
    surroundings = _Surroundings(
        (folder, *_folders(content.get("dependencies", []), folder, faults)),
        _env(content.get("env", {}), folder, faults),
    )
    graphs = content.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise GraphFileError([*faults, f"it registers no graph: write {EXAMPLE}"])
    found = {
        name: FiledGraph(name, _path(name, entry, folder, faults), surroundings)
        for name, entry in graphs.items()
    }
    if faults:
        raise GraphFileError(faults)
    return found


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise GraphFileError([f"it cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise GraphFileError([f"it is not JSON ({error})"]) from error
    if not isinstance(content, dict):
        raise GraphFileError([f"it is no JSON object: write {EXAMPLE}"])
    return content


def _folders(dependencies: Any, folder: Path, faults: list[str]) -> Iterator[Path]:
    """The local ones; packages by name have to be installed, which is not for us to do."""
    if not isinstance(dependencies, list) or not all(isinstance(d, str) for d in dependencies):
        faults.append('dependencies is no list of text, e.g. ["."]')
        return
    for dependency in dependencies:
        local = folder / dependency
        if local.is_dir():
            yield local.resolve()
        elif dependency.startswith("."):
            faults.append(f"dependencies: there is no folder {dependency}")


def _env(env: Any, folder: Path, faults: list[str]) -> Path | Mapping[str, str]:
    if isinstance(env, str):
        return folder / env
    if isinstance(env, dict) and all(isinstance(value, str) for value in env.values()):
        return env
    faults.append("env is neither the path of a file nor an object of texts")
    return {}


def _path(name: str, entry: Any, folder: Path, faults: list[str]) -> str:
    path = entry.get("path") if isinstance(entry, dict) else entry
    path = path if isinstance(path, str) else ""
    location, _, attribute = path.rpartition(":")
    if not location or not attribute:
        faults.append(f"graph {name!r} is not './path.py:attribute' or 'module:attribute'")
        return ""
    if location.endswith(JAVASCRIPT):
        faults.append(f"graph {name!r} is not written in Python: it cannot be resumed here")
        return ""
    is_file = "/" in location or location.endswith(".py")
    return f"{folder / location}:{attribute}" if is_file else path
