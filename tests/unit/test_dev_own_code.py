"""Which modules are the user's own, whether they were saved, and loading them anew."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resumer.dev.own_code import OwnCode, where_it_broke
from resumer.errors import GraphNotLoaded
from resumer.graphs import Graphs

Write = Callable[[str, str], Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A working directory that modules are imported from; what was imported is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path.resolve()

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_what_the_graph_imports_is_the_users_own(project: Write) -> None:
    """Modules and packages of the project, and neither Python's, installed ones nor ours."""
    project("shop/__init__.py", "")
    project("shop/prices.py", "import colorsys, playwright._repo_version, resumer.operator.views")
    project(".venv/lib/site-packages/rented.py", "")
    project(
        "main_graph.py", "import sys; sys.path.append('.venv/lib/site-packages')\nimport rented"
    )
    code = OwnCode.of("main_graph:graph")
    importlib.import_module("main_graph")
    importlib.import_module("shop.prices")
    assert set(code.modules()) == {"main_graph", "shop", "shop.prices"}
    assert code.folders() == {Path.cwd(), Path.cwd() / "shop"}


def test_a_package_elsewhere_is_the_users_own_if_it_is_named(
    project: Write, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules are watched, the neighbours that merely lie beside it are not."""
    elsewhere = tmp_path_factory.mktemp("elsewhere").resolve()
    (elsewhere / "far").mkdir()
    (elsewhere / "far" / "__init__.py").write_text("import neighbour")
    (elsewhere / "neighbour.py").write_text("")
    monkeypatch.syspath_prepend(str(elsewhere))
    code = OwnCode.of("far:graph")
    importlib.import_module("far")
    assert set(code.modules()) == {"far"}


def test_a_save_is_noticed_and_a_late_import_is_none(project: Write) -> None:
    """What a node imports only now was not changed; what is touched or deleted was."""
    first, second = project("first_part.py", ""), project("second_part.py", "")
    code = OwnCode.of("first_part:graph")
    importlib.import_module("first_part")
    code.note()
    importlib.import_module("second_part")
    assert code.changed() == []
    second.write_text("x = 1")
    assert code.changed() == [second]
    first.unlink()
    assert code.changed() == [first, second]


def test_two_saves_within_one_second_are_two(project: Write) -> None:
    """Neither the time in whole seconds nor the same length brings old code back."""
    path = project("quick.py", "word = 'one'")
    code = OwnCode.of("quick:graph")
    assert importlib.import_module("quick").word == "one"
    stamp = path.stat().st_mtime_ns // 10**9 * 10**9
    for turn, word in enumerate(("two", "six", "ten"), start=1):
        path.write_text(f"word = '{word}'")
        os.utime(path, ns=(stamp + turn, stamp + turn))
        with code.afresh():
            assert importlib.import_module("quick").word == word


def test_a_failed_attempt_changes_nothing(project: Write) -> None:
    """The very modules from before are back, and none of the attempt's is left."""
    project("part.py", "")
    project("whole.py", "import part")
    code = OwnCode.of("whole:graph")
    before = importlib.import_module("whole"), importlib.import_module("part")
    project("added.py", "")
    broken = project("broken.py", "1 / 0")
    project("whole.py", "import added, broken")
    with pytest.raises(ZeroDivisionError), code.afresh():
        importlib.import_module("whole")
    assert (sys.modules["whole"], sys.modules["part"]) == before
    assert not {"added", "broken"} & set(sys.modules)
    assert code.changed() == []
    broken.write_text("")
    assert code.changed() == [broken]


def test_a_mistake_in_a_new_module_is_watched(project: Write) -> None:
    """One that never was imported, since it cannot be read: its next save counts."""
    project("entry.py", "")
    code = OwnCode.of("entry:graph")
    importlib.import_module("entry")
    unread = project("deeper/unread.py", "def (")
    project("entry.py", "import deeper.unread")
    with pytest.raises(SyntaxError), code.afresh():
        importlib.import_module("entry")
    assert unread.parent in code.folders()
    unread.write_text("")
    assert code.changed() == [unread]


@pytest.mark.parametrize(
    "text, told",
    [
        ("x = (\n", "sick.py, line 1: '(' was never closed\n    x = ("),
        ("def f():\nreturn 1", "sick.py, line 2: expected an indented block"),
        ("\n\ny = nothing", "sick.py, line 3: NameError: name 'nothing' is not defined\n    y ="),
        ("import no_such_module", "sick.py, line 1: ModuleNotFoundError: No module named"),
        ("import json\njson.loads('{')", "sick.py, line 2: JSONDecodeError: Expecting property"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(project: Write, text: str, told: str) -> None:
    """In the user's own file, also where a library raised for it."""
    project("sick.py", text)
    code = OwnCode.of("sick:graph")
    graphs = Graphs({"*": "sick:graph"})
    with pytest.raises(GraphNotLoaded) as caught, code.afresh():
        asyncio.run(graphs.load("*"))
    assert where_it_broke(caught.value, code).startswith(told)


def test_a_mistake_without_a_line_is_told_as_it_is(project: Write) -> None:
    """A graph that is none has no line to show."""
    code = OwnCode.of("none:graph")
    assert where_it_broke(GraphNotLoaded("graph '*' is a str"), code) == "graph '*' is a str"
