"""The graph or the flow that a session is given, found before anything is started."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from importlib.machinery import PathFinder
from pathlib import Path

from resumer.errors import SettingsError
from resumer.settings import Settings

__all__ = ["OwnAgent"]

MOST_NAMED = 8
Body = Sequence[ast.stmt]


@dataclass(frozen=True)
class OwnAgent:
    """`path` is `module:attribute` or `path.py:attribute`; it serves the agent called `name`."""

    path: str
    name: str
    is_flow: bool

    @classmethod
    def of(cls, graph: str | None, flow: str | None) -> OwnAgent | None:
        """What --graph or --flow says, None without either. Raises `SettingsError`."""
        if graph is not None and flow is not None:
            raise SettingsError(["--graph or --flow: a session has one of them"])
        text, option = (graph, "--graph") if flow is None else (flow, "--flow")
        if text is None:
            return None
        [*found] = Settings.graphs_from(text, option).items()
        if len(found) != 1 or not isinstance(found[0][1], str):
            what = "module:attribute or path.py:attribute"
            raise SettingsError([f"{option}: {text!r} is not one {what}"])
        [(name, path)] = found
        return cls(path, name, is_flow=flow is not None)

    @property
    def option(self) -> str:
        """The option that gave it."""
        return "--flow" if self.is_flow else "--graph"

    @property
    def suffix(self) -> str:
        """Keeps the threads of each agent apart: another one cannot resume them."""
        return f"_{sha256(self.path.encode()).hexdigest()[:8]}"

    def check(self) -> None:
        """Raise `SettingsError` if there is no such file, or no such name in it.

        Nothing is imported: a graph may need the settings of a session that has begun.
        """
        location, _, attribute = self.path.rpartition(":")
        file = Path(location) if location.endswith(".py") else _file_of(location)
        if file is None or not file.is_file():
            what = f"file {location}" if location.endswith(".py") else f"module {location}"
            raise SettingsError([f"{self.option}: there is no {what} here ({Path.cwd()})"])
        names = _names_in(file)
        if names and (wanted := attribute.partition(".")[0]) not in names:
            raise SettingsError(
                [f"{self.option}: {location} has no {wanted!r}: {_near(wanted, names)}"]
            )


def _file_of(module: str) -> Path | None:
    """The file of a module, which is looked for as Python would and not imported."""
    top, *rest = module.split(".")
    spec = PathFinder.find_spec(top, [str(Path.cwd())]) or importlib.util.find_spec(top)
    for name in rest:
        if spec is None or not spec.submodule_search_locations:
            return None
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec and spec.origin else None


def _names_in(file: Path) -> frozenset[str]:
    """What a module defines at its top level; nothing if that cannot be told by reading it."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError):
        return frozenset()  # importing it tells more
    names = frozenset(_defined(body))
    return frozenset() if names & {"*", "__getattr__"} else names


def _defined(body: Body) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.alias):
                yield node.asname or node.name.partition(".")[0]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name


def _near(wanted: str, names: frozenset[str]) -> str:
    if close := get_close_matches(wanted, names, n=1):
        return f"did you mean {close[0]}?"
    shown = sorted(name for name in names if not name.startswith("_"))
    more = ", …" if len(shown) > MOST_NAMED else ""
    return f"it has {', '.join(shown[:MOST_NAMED])}{more}"
