"""Call a function that makes a graph, with what LangGraph's own server would hand to it.

There a graph is made for each run; here once, for all threads that are resumed. So what is handed
over speaks of no thread, no user and no run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never

__all__ = ["FactoryRuntime", "call_factory"]


@dataclass(frozen=True)
class FactoryRuntime:
    """Stands in for LangGraph's `ServerRuntime`, whose members these are."""

    access_context: str = "threads.create_run"
    user: None = None
    store: None = None
    context: None = None

    @property
    def execution_runtime(self) -> FactoryRuntime:
        """Itself: the graph is made to be run."""
        return self

    def ensure_user(self) -> Never:
        """Raise `PermissionError`: nobody is signed in where threads are resumed."""
        raise PermissionError("a thread is resumed by the resumer, for no user")


def call_factory(factory: Callable[..., Any]) -> Any:
    """What the factory returns, awaitables and context managers as they are.

    Parameters that must be given get the runtime where they are called or annotated so, else a
    `RunnableConfig` with nothing in it. Raises whatever the factory raises.
    """
    return factory(*map(_given, _required(factory)))


def _required(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # one that is written in C
        return []
    required = [
        each
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(required) > 2 or any(each.kind is each.KEYWORD_ONLY for each in required):
        raise TypeError(
            "a function that makes a graph takes nothing, a config, a ServerRuntime or both: "
            f"not {inspect.signature(factory)}"
        )
    return required


def _given(parameter: inspect.Parameter) -> Any:
    if parameter.name == "runtime" or "ServerRuntime" in str(parameter.annotation):
        return FactoryRuntime()
    return {"configurable": {}, "metadata": {}, "tags": []}
