"""A langgraph.json: what it registers, what it sets up, and what is wrong with it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resumer.environment import EnvironmentReader
from resumer.errors import GraphNotLoaded, SettingsError
from resumer.graph_file import GraphFileError, read_graph_file
from resumer.graphs import Graphs
from resumer.settings import Settings

AGENT = """
import os
from langgraph.graph import END, START, StateGraph
from my_agent.parts import answer

def graph(config):
    builder = StateGraph(dict)
    builder.add_node("one", lambda state: {"answer": answer, "key": os.environ["AGENT_KEY"]})
    builder.add_edge(START, "one")
    builder.add_edge("one", END)
    return builder
"""
NEEDED = {"database_url": "postgresql://db/x", "signing_secrets": ("secret",)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent's repository, apart from the working directory; nothing of it stays imported."""
    monkeypatch.setenv("AGENT_KEY", "put back")
    monkeypatch.delenv("AGENT_KEY")
    before = set(sys.modules)
    (tmp_path / "src" / "my_agent").mkdir(parents=True)
    (tmp_path / "src" / "my_agent" / "parts.py").write_text("answer = 42\n")
    (tmp_path / "src" / "agent.py").write_text(AGENT)
    (tmp_path / "installed_agent.py").write_text(AGENT)
    (tmp_path / ".env").write_text("# secrets\nexport AGENT_KEY='from the file'\nEMPTY\n")
    yield tmp_path
    os.environ.pop("AGENT_KEY", None)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **content: Any) -> str:
    """The file with this content; its path."""
    file = folder / "langgraph.json"
    file.write_text(json.dumps(content))
    return str(file)


@pytest.mark.parametrize(
    "entry",
    [
        "./src/agent.py:graph",
        "src/agent.py:graph",
        "agent:graph",
        "installed_agent:graph",
        "installed_agent.py:graph",
        {"path": "./src/agent.py:graph", "description": "It pays."},
    ],
    ids=str,
)
@pytest.mark.parametrize("env", [".env", {"AGENT_KEY": "from the file"}], ids=["file", "object"])
async def test_each_documented_form_is_loaded(folder: Path, entry: Any, env: Any) -> None:
    """Files, modules and descriptions; local dependencies are importable, variables are set."""
    dependencies = ["langchain-openai", "./src", "."]
    file = write(folder, dependencies=dependencies, graphs={"agent": entry}, env=env)
    graph = await Graphs(read_graph_file(file)).load("agent")
    assert await graph.ainvoke({}) == {"answer": 42, "key": "from the file"}


async def test_nothing_that_is_set_is_set_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's own variables win, and its own modules are found first."""
    monkeypatch.setenv("AGENT_KEY", "of the process")
    graphs = {"agent": "./src/agent.py:graph"}
    file = write(folder, dependencies=["./src"], graphs=graphs, env=".env")
    before = list(sys.path)
    graph = await Graphs(read_graph_file(file)).load("agent")
    assert (await graph.ainvoke({}))["key"] == "of the process"
    assert sys.path[: len(before)] == before
    assert sys.path[len(before) :] == [str(folder), str(folder / "src")]


def test_reading_the_file_sets_up_nothing(folder: Path) -> None:
    """A process that resumes nothing is left as it is; secrets stay out of what is shown."""
    before = dict(os.environ), list(sys.path)
    graphs = {"agent": "agent:graph"}
    found = read_graph_file(write(folder, graphs=graphs, env={"AGENT_KEY": "sesame"}))
    assert (dict(os.environ), list(sys.path)) == before
    assert "sesame" not in repr(found)
    assert str(found["agent"]) == "agent:graph"


async def test_a_file_without_its_env_file_can_be_used(folder: Path) -> None:
    """Where it runs, the variables often come from the platform."""
    file = write(folder, dependencies=["src"], graphs={"a": "agent:graph"}, env="no/such.env")
    assert await Graphs(read_graph_file(file)).load("a")


@pytest.mark.parametrize(
    "content, faults",
    [
        ({}, ["it registers no graph: write"]),
        ({"graphs": {}}, ["it registers no graph: write"]),
        ({"graphs": ["a.py:g"]}, ["it registers no graph: write"]),
        ({"graphs": {"a": "a.py"}}, ["graph 'a' is not './path.py:attribute'"]),
        ({"graphs": {"a": {"description": "?"}}}, ["graph 'a' is not './path.py:attribute'"]),
        ({"graphs": {"a": 7}}, ["graph 'a' is not './path.py:attribute'"]),
        ({"graphs": {"a": "./a.ts:graph"}}, ["graph 'a' is not written in Python"]),
        ({"graphs": {"a": "a:g"}, "env": ["X=1"]}, ["env is neither the path of a file nor"]),
        ({"graphs": {"a": "a:g"}, "env": {"X": 1}}, ["env is neither the path of a file nor"]),
        ({"graphs": {"a": "a:g"}, "dependencies": "."}, ["dependencies is no list of text"]),
        (
            {"graphs": {"a": "a"}, "env": 1, "dependencies": ["./gone"]},
            ["dependencies: there is no folder ./gone", "env is neither", "graph 'a' is not"],
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_all_that_is_wrong(
    folder: Path, content: dict[str, Any], faults: list[str]
) -> None:
    """Every fault at once, each with what to write instead."""
    with pytest.raises(GraphFileError) as caught:
        read_graph_file(write(folder, **content))
    assert len(caught.value.faults) == len(faults)
    for found, expected in zip(caught.value.faults, faults, strict=True):
        assert found.startswith(expected)


@pytest.mark.parametrize(
    "text, fault", [("{", "it is not JSON ("), ("[]", "it is no JSON object"), (None, "it cannot")]
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str | None, fault: str) -> None:
    """Not there, not JSON, or JSON of another kind."""
    file = tmp_path / "langgraph.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(GraphFileError, match="^" + fault.replace("(", r"\(")):
        read_graph_file(file)


def test_the_setting_may_name_a_file(folder: Path) -> None:
    """In the environment, as an option and in the program; beside other graphs, too."""
    file = write(folder, graphs={"agent": "agent:graph"})
    settings = Settings(graphs=file, **NEEDED)  # type: ignore[arg-type]  # what Resumer hands on
    assert list(settings.graphs) == ["agent"]
    assert list(Settings.graphs_from(f"{file},other=m:g")) == ["agent", "other"]
    reader = EnvironmentReader({"RESUMER_GRAPHS": file})
    assert list(reader.graphs("RESUMER_GRAPHS")) == ["agent"]
    assert reader.faults == []


def test_what_is_wrong_in_the_file_stands_among_the_faults(folder: Path) -> None:
    """With the variable's and the file's name, beside everything else that is wrong."""
    file = write(folder, graphs={"agent": "a.ts:graph"})
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"RESUMER_GRAPHS": f"{file},agent=m:g,{file}2.json"})
    faults = "\n".join(caught.value.faults)
    assert f"RESUMER_GRAPHS: {file}: graph 'agent' is not written in Python" in faults
    assert f"RESUMER_GRAPHS: {file}2.json: it cannot be read (No such file" in faults
    assert "RESUMER_DATABASE_URL is missing" in faults
    with pytest.raises(SettingsError, match="RESUMER_GRAPHS: 'b' stands twice"):
        Settings.from_env({"RESUMER_GRAPHS": f"b=m:g,{write(folder, graphs={'b': 'm:g'})}"})


async def test_a_broken_graph_of_a_file_is_told_by_its_name(folder: Path) -> None:
    """As for every other graph."""
    file = write(folder, graphs={"agent": "./nowhere.py:graph"})
    with pytest.raises(GraphNotLoaded, match=r"graph 'agent': FileNotFoundError: no file .*nowh"):
        await Graphs(read_graph_file(file)).load("agent")
