"""Graphs: however one is registered, it is loaded once, or the error says what is wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from resumer.errors import GraphNotLoaded
from resumer.graphs import Graphs

SOURCE = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph

class State(TypedDict, total=False):
    n: int

builder = StateGraph(State)
builder.add_node("one", lambda state: {"n": 1})
builder.add_edge(START, "one")
builder.add_edge("one", END)
graph = builder.compile()

def factory():
    return graph

class Agents:
    class Finance:
        graph = graph
"""


class State(TypedDict, total=False):
    n: int


def make_builder() -> StateGraph[Any, Any, Any, Any]:
    """START → one → END, uncompiled."""
    builder = StateGraph(State)
    builder.add_node("one", lambda _state: {"n": 1})
    builder.add_edge(START, "one")
    builder.add_edge("one", END)
    return builder


def make_graph() -> Any:
    """The same, compiled."""
    return make_builder().compile()


async def make_graph_async() -> Any:
    """The same, in its own time."""
    await asyncio.sleep(0)
    return make_graph()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the modules that are put into it, and none of them afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


async def load(spec: Any) -> Any:
    """Register `spec` alone and load it."""
    return await Graphs({"agent": spec}).load("agent")


@pytest.mark.parametrize(
    "spec",
    [
        make_graph(),
        make_graph,
        make_graph_async,
        make_builder(),
        make_builder,
        lambda: make_builder,
    ],
    ids=["graph", "factory", "async factory", "builder", "builder factory", "factory of a factory"],
)
async def test_an_object_is_made_a_graph(spec: Any, request: pytest.FixtureRequest) -> None:
    """Graphs, factories of either kind and uncompiled builders are taken; no more than that."""
    if request.node.callspec.id == "factory of a factory":
        with pytest.raises(
            GraphNotLoaded, match="graph 'agent' is a function; register a compiled"
        ):
            await load(spec)
    else:
        assert (await (await load(spec)).ainvoke({}))["n"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "shop_agent:graph",
        "shop_agent:factory",
        "shop_agent:builder",
        "shop_agent:Agents.Finance.graph",
        "shop_agent.py:graph",
        "./shop_agent.py:Agents.Finance.graph",
        "nested/deep agent.py:graph",
        "package.inner:graph",
    ],
)
async def test_a_path_is_loaded(folder: Path, path: str) -> None:
    """`module:attribute` and `file.py:attribute` both work, with nested attributes too."""
    for name in ("shop_agent.py", "nested/deep agent.py", "package/inner.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SOURCE)
    assert (await (await load(path)).ainvoke({}))["n"] == 1


async def test_an_absolute_path_is_loaded(folder: Path) -> None:
    """The folder of a file need not be the working directory."""
    (folder / "agent.py").write_text(SOURCE)
    assert (await (await load(f"{folder / 'agent.py'}:graph")).ainvoke({}))["n"] == 1


@pytest.mark.parametrize(
    "spec, error",
    [
        ("no_such_module:graph", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("fine:nothing", "AttributeError: module 'fine' has no attribute 'nothing'"),
        ("fine:graph.deeper", "AttributeError: .* has no attribute 'deeper'"),
        ("missing.py:graph", "FileNotFoundError: no file missing.py"),
        (".:graph", "(ValueError|TypeError): "),
        ("fine", "ValueError: 'fine' is not module:attribute"),
        (":graph", "ValueError: ':graph' is not module:attribute"),
        ("broken:graph", "KeyError: 'LOOPPAUSE_API_KEY'"),
        ("broken.py:graph", "KeyError: 'LOOPPAUSE_API_KEY'"),
        ("wrong.py:graph", r"SyntaxError: .*\(wrong.py, line 1\)"),
        ("leaves:graph", "SystemExit: 3"),
        ("fine:number", "graph 'agent' is a int; register a compiled LangGraph graph"),
        (42, "graph 'agent' is a int; register a compiled LangGraph graph"),
        (None, "graph 'agent' is a NoneType; register"),
        ({}, "graph 'agent' is a dict; register"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda a, b, c: (a, b, c), r"TypeError: a function that makes a graph .*\(a, b, c\)"),
        (lambda *, config: config, r"TypeError: a function that makes a graph .*\(\*, config\)"),
        (lambda config: config, "graph 'agent' is a dict; register"),
        (StateGraph(State), "ValueError: Graph must have an entrypoint"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_what_cannot_be_loaded_says_why(folder: Path, spec: Any, error: str) -> None:
    """Every failure is one error that names the graph and carries the reason."""
    (folder / "fine.py").write_text(SOURCE + "number = 42\n")
    (folder / "broken.py").write_text(
        "import os\ngraph = os.environ.copy().pop('LOOPPAUSE_API_KEY')\n"
    )
    (folder / "wrong.py").write_text("def graph(:\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(GraphNotLoaded, match=error) as caught:
        await load(spec)
    assert str(caught.value).startswith("graph 'agent'")


async def test_a_file_that_was_mended_is_loaded_again(folder: Path) -> None:
    """A failed load is not remembered: the next try reads the file anew."""
    graphs = Graphs({"agent": "agent.py:graph"})
    (folder / "agent.py").write_text("raise RuntimeError('half deployed')\n")
    with pytest.raises(GraphNotLoaded, match="half deployed"):
        await graphs.load("agent")
    (folder / "agent.py").write_text(SOURCE + "# mended, and longer than before\n")
    assert (await (await graphs.load("agent")).ainvoke({}))["n"] == 1


async def test_two_graphs_of_one_file_share_its_module(folder: Path) -> None:
    """A file is executed once, so that its types are the same for all of its graphs."""
    (folder / "agent.py").write_text(SOURCE)
    graphs = Graphs({"a": "agent.py:graph", "b": "./agent.py:Agents.Finance.graph"})
    assert await graphs.load("a") is await graphs.load("b")


async def test_files_of_the_same_name_stay_apart(folder: Path) -> None:
    """Two files called agent.py are two modules."""
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "agent.py").write_text(SOURCE + f"graph.name = {name!r}\n")
    graphs = Graphs({"a": "first/agent.py:graph", "b": "second/agent.py:graph"})
    assert [(await graphs.load(name)).name for name in ("a", "b", "a")] == [
        "first",
        "second",
        "first",
    ]


async def test_a_file_may_import_its_neighbours(folder: Path) -> None:
    """As when it is run as a script, modules beside it are found."""
    (folder / "agents").mkdir()
    (folder / "agents" / "neighbouring_parts.py").write_text(SOURCE)
    (folder / "agents" / "agent.py").write_text("from neighbouring_parts import graph\n")
    assert (await (await load("agents/agent.py:graph")).ainvoke({}))["n"] == 1


@pytest.mark.parametrize(
    "registered, agent_id, name",
    [
        (["a", "b"], "a", "a"),
        (["a", "b"], "c", None),
        (["a", "b"], None, None),
        (["a"], None, "a"),
        (["a"], "b", None),
        (["a"], "", None),
        (["*"], "b", "*"),
        (["*"], None, "*"),
        (["a", "*"], "a", "a"),
        (["a", "*"], "b", "*"),
        (["a", "*"], None, "*"),
        ([], "a", None),
        ([], None, None),
    ],
)
def test_the_agent_id_chooses_the_graph(
    registered: list[str], agent_id: str | None, name: str | None
) -> None:
    """Its own graph, else `*`; the only graph there is where nobody says who asked."""
    assert Graphs(dict.fromkeys(registered, "m:g")).name_for(agent_id) == name


async def test_concurrent_loads_build_once() -> None:
    """However many resumes want a graph at once, its factory runs once."""
    built: list[Any] = []

    async def factory() -> Any:
        await asyncio.sleep(0.01)
        built.append(make_graph())
        return built[-1]

    graphs = Graphs({"agent": factory})
    loaded = await asyncio.gather(*(graphs.load("agent") for _ in range(20)))
    assert len(built) == 1
    assert all(graph is built[0] for graph in loaded)


async def test_load_all_finds_the_graph_that_is_wrong() -> None:
    """A mistake in any graph shows at the start."""
    with pytest.raises(GraphNotLoaded, match="graph 'bad'"):
        await Graphs({"good": make_graph, "bad": "nowhere_at_all:graph"}).load_all()
