"""Can each registered graph be loaded here?"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, InvalidStateError

from resumer.errors import GraphNotLoaded
from resumer.flows import Flows
from resumer.graph_file import FiledGraph
from resumer.graphs import Graphs
from resumer.remote_settings import is_remote

from .finding import Finding, fail, ok, warn
from .subject import Subject

__all__ = ["GRAPH_SECONDS", "check_graphs"]

GRAPH_SECONDS = 30.0  # an agent's imports take their time


async def check_graphs(
    subject: Subject, *, seconds: float = GRAPH_SECONDS
) -> AsyncIterator[Finding]:
    """One finding for each graph and flow; they run their modules' code, as a worker does."""
    if not subject.graphs and not subject.flows:
        yield warn(
            "graphs",
            "none is registered: fine for `resumer web`, a worker needs one",
            "set RESUMER_GRAPHS to name=module:attribute, or give --graph",
        )
    local = {name: spec for name, spec in subject.graphs.items() if not is_remote(spec)}
    for name in local:
        yield await _check("graph", name, Graphs(local), seconds)
    for name in subject.flows:
        yield await _check("flow", name, Flows(subject.flows), seconds)


async def _check(noun: str, name: str, graphs: Graphs, seconds: float) -> Finding:
    spec = graphs.registered[name]
    is_named = isinstance(spec, str | FiledGraph)
    place = f"{name}={spec if is_named else type(spec).__name__}"
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wrap_future(_loading(graphs, name))
    except GraphNotLoaded as error:
        reason = str(error).removeprefix(f"{noun} {name!r}: ")
        mend = "see that it can be imported in the folder and environment of the worker"
        return fail(noun, f"{place}: {reason}", mend)
    except TimeoutError:
        found = f"{place}: not loaded within {seconds:.0f} s"
        return fail(noun, found, "its module must do nothing slow when it is imported")
    return ok(noun, f"{place} loads")


def _loading(graphs: Graphs, name: str) -> Future[None]:
    """Load it in a thread that keeps nothing waiting: an import cannot be cancelled.

    What it prints goes to standard error, since standard output is for the findings.
    """
    future: Future[None] = Future()

    def load() -> None:
        trouble: GraphNotLoaded | None = None
        try:
            with contextlib.redirect_stdout(sys.stderr):
                asyncio.run(_load(graphs, name))
        except GraphNotLoaded as error:
            trouble = error
        except BaseException as error:  # noqa: BLE001  (a framework that breaks on being imported)
            trouble = GraphNotLoaded(f"{type(error).__name__}: {error}")
        with contextlib.suppress(InvalidStateError):  # nobody waits any more
            future.set_result(None) if trouble is None else future.set_exception(trouble)

    threading.Thread(target=load, name=f"graph {name}", daemon=True).start()
    return future


async def _load(graphs: Graphs, name: str) -> None:
    async with graphs.running():
        await graphs.load(name)
