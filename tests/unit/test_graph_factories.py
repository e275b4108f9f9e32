"""Functions and context managers that make graphs: called once, held open, closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph_sdk.runtime import ServerRuntime

from resumer.commands.doctor import Subject
from resumer.commands.doctor.graphs import check_graphs
from resumer.errors import GraphNotLoaded
from resumer.factories import FactoryRuntime
from resumer.graphs import Graphs


class State(TypedDict, total=False):
    name: str


def graph_of(name: str = "graph") -> Any:
    """START → one → END."""
    builder: Any = StateGraph(State)
    builder.add_node("one", lambda _state: {"name": name})
    builder.add_edge(START, "one")
    builder.add_edge("one", END)
    return builder.compile(name=name)


def with_config(config: Any) -> Any:
    assert config["configurable"] == {}
    return graph_of()


def with_runtime(runtime: ServerRuntime[Any]) -> Any:
    execution = runtime.execution_runtime
    assert execution is not None
    assert execution.context is None
    assert runtime.user is None
    return graph_of()


async def with_both(served: ServerRuntime[Any], config: Any) -> Any:
    assert served.access_context == "threads.create_run"
    return with_config(config)


def annotated(served: Any) -> Any:
    """As in a module without `from __future__ import annotations`."""
    return with_runtime(served)


annotated.__annotations__["served"] = ServerRuntime[Any]


def with_a_default(name: str = "mine") -> Any:
    return graph_of(name)


@pytest.mark.parametrize(
    "factory", [with_config, with_runtime, with_both, annotated, with_a_default]
)
async def test_a_factory_gets_what_langgraphs_server_would_give(
    factory: Callable[..., Any],
) -> None:
    """A config, a runtime, both in either order, or nothing; defaults stand."""
    graph = await Graphs({"agent": factory}).load("agent")
    assert graph.name == ("mine" if factory is with_a_default else "graph")


async def test_a_factory_that_wants_a_user_hears_that_there_is_none() -> None:
    """What it makes of a user cannot be right for threads of all users."""

    def of_user(runtime: FactoryRuntime) -> Any:
        return runtime.ensure_user()

    with pytest.raises(GraphNotLoaded, match="for no user"):
        await Graphs({"agent": of_user}).load("agent")


class Opened:
    """Context managers of each kind, and what was done with them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.tasks: list[Any] = []

    @contextlib.contextmanager
    def sync(self) -> Iterator[Any]:
        self.seen.append("opened")
        self.tasks.append(asyncio.current_task())
        try:
            yield graph_of()
        finally:
            self.tasks.append(asyncio.current_task())
            self.seen.append("closed")

    @contextlib.asynccontextmanager
    async def plain(self) -> AsyncIterator[Any]:
        with self.sync() as graph:
            await asyncio.sleep(0)
            yield graph

    @contextlib.asynccontextmanager
    async def configured(self, config: Any) -> AsyncIterator[Any]:
        with self.sync():
            yield graph_of(str(config["configurable"])).builder

    async def awaited(self) -> Any:
        return self.plain()


@pytest.mark.parametrize("kind", ["sync", "plain", "configured", "awaited"])
async def test_a_context_manager_is_held_open_while_running(kind: str) -> None:
    """Entered once, however many want it; left at the end, in the task that entered it."""
    opened = Opened()
    graphs = Graphs({"agent": getattr(opened, kind)})
    async with graphs.running():
        first, second = await asyncio.gather(graphs.load("agent"), graphs.load("agent"))
        assert first is second
        assert "one" in first.nodes
        assert opened.seen == ["opened"]
    assert opened.seen == ["opened", "closed"]
    assert opened.tasks[0] is opened.tasks[1]


async def test_a_second_start_opens_it_anew() -> None:
    """What was closed is not handed out again."""
    opened = Opened()
    graphs = Graphs({"agent": opened.plain})
    for _ in range(2):
        async with graphs.running():
            await graphs.load("agent")
    assert opened.seen == ["opened", "closed"] * 2


async def test_the_last_opened_is_the_first_closed() -> None:
    """And one that raises on closing keeps no other open; the log names what it raised."""
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def held(name: str) -> AsyncIterator[Any]:
        yield graph_of()
        seen.append(name)
        if name == "b":
            raise OSError("connection lost")

    names = ("a", "b", "c")
    graphs = Graphs({name: lambda name=name: held(name) for name in names})
    async with graphs.running():
        await graphs.load_all()
    assert seen == ["c", "b", "a"]


async def test_what_a_held_graph_raises_on_closing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody else would hear of it."""

    @contextlib.contextmanager
    def held() -> Iterator[Any]:
        yield graph_of()
        raise OSError("connection lost")

    graphs = Graphs({"agent": held})
    with caplog.at_level(logging.ERROR, logger="resumer"):
        async with graphs.running():
            await graphs.load("agent")
    assert "graph_not_closed" in caplog.text
    assert "connection lost" in caplog.text


async def test_one_that_cannot_be_entered_says_why_and_may_be_tried_again() -> None:
    """As any graph that cannot be loaded."""
    attempts: list[int] = []

    @contextlib.asynccontextmanager
    async def held() -> AsyncIterator[Any]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("no tools server")
        yield graph_of()

    graphs = Graphs({"agent": held})
    async with graphs.running():
        with pytest.raises(GraphNotLoaded, match="graph 'agent': ConnectionError: no tools server"):
            await graphs.load("agent")
        assert await graphs.load("agent")


async def test_a_start_that_is_given_up_closes_what_was_being_opened() -> None:
    """A host that is told to stop while a graph connects does not leave it connected."""
    seen: list[str] = []
    entered = asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow() -> AsyncIterator[Any]:
        try:
            entered.set()
            await asyncio.Event().wait()
            yield
        finally:
            seen.append("closed")

    loading = asyncio.create_task(Graphs({"agent": slow}).load("agent"))
    await entered.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert seen == ["closed"]


async def test_a_context_manager_of_something_else_is_refused() -> None:
    """And closed, though it was of no use."""
    seen: list[str] = []

    @contextlib.contextmanager
    def held() -> Iterator[int]:
        yield 42
        seen.append("closed")

    graphs = Graphs({"agent": held})
    async with graphs.running():
        with pytest.raises(GraphNotLoaded, match="graph 'agent' is a int; register"):
            await graphs.load("agent")
    assert seen == ["closed"]


async def test_the_doctor_opens_and_closes_what_it_checks() -> None:
    """It leaves no connection behind that a factory has opened."""
    opened = Opened()
    subject = Subject(env={}, graphs={"agent": opened.plain})
    findings = [finding async for finding in check_graphs(subject)]
    assert [(finding.status, finding.found) for finding in findings] == [
        ("ok", "agent=method loads")
    ]
    assert opened.seen == ["opened", "closed"]
