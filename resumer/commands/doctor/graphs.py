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
from resumer.graphs import Graphs

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
    for name in subject.graphs:
        yield await _check("graph", name, Graphs(subject.graphs), seconds)
    for name in subject.flows:
        yield await _check("flow", name, Flows(subject.flows), seconds)


async def _check(noun: str, name: str, graphs: Graphs, seconds: float) -> Finding:
    spec = graphs.registered[name]
    place = f"{name}={spec if isinstance(spec, str) else type(spec).__name__}"
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
                asyncio.run(graphs.load(name))
        except GraphNotLoaded as error:
            trouble = error
        except BaseException as error:  # noqa: BLE001  (a framework that breaks on being imported)
            trouble = GraphNotLoaded(f"{type(error).__name__}: {error}")
        with contextlib.suppress(InvalidStateError):  # nobody waits any more
            future.set_result(None) if trouble is None else future.set_exception(trouble)

    threading.Thread(target=load, name=f"graph {name}", daemon=True).start()
    return future
