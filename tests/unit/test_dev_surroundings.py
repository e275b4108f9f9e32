"""Where a session's receiver is, and whether a person sits before it."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from starlette.responses import PlainTextResponse

from resumer.dev.addresses import Addresses
from resumer.dev.beside import beside
from resumer.dev.desktop import has_desktop
from resumer.dev.environment import states_for
from resumer.dev.exposing import PATH, Exposed
from resumer.dev.own_agent import OwnAgent
from resumer.dev.own_code import OwnCode
from resumer.dev.reloading import Reloading
from resumer.errors import SettingsError
from resumer.graphs import Graphs

LOCAL = f"http://127.0.0.1:8777{PATH}"
TUNNEL = f"https://now.example{PATH}"


@pytest.mark.parametrize(
    "asked, goes",
    [
        (LOCAL, LOCAL),
        (TUNNEL, TUNNEL),
        (f"http://127.0.0.1:1{PATH}", LOCAL),
        (f"http://localhost:1{PATH}", LOCAL),
        (f"http://[::1]:1{PATH}", LOCAL),
        (f"https://before.example{PATH}", LOCAL),
        ("https://before.example/other", "https://before.example/other"),
        ("http://127.0.0.1:1/webhooks/looppause", "http://127.0.0.1:1/webhooks/looppause"),
        (f"https://elsewhere.example{PATH}", f"https://elsewhere.example{PATH}"),
    ],
)
def test_proofs_follow_the_receiver_and_no_other(tmp_path: Path, asked: str, goes: str) -> None:
    """Those of earlier sessions come here; what was never ours goes where it was sent."""
    file = tmp_path / "data" / "tunnels"
    Addresses.of(LOCAL, f"https://before.example{PATH}", file)
    addresses = Addresses.of(LOCAL, TUNNEL, file)
    assert addresses.now(asked) == goes
    assert addresses.lead_here(asked) is (goes in (LOCAL, TUNNEL))


def test_a_pause_without_a_webhook_does_not_lead_here(tmp_path: Path) -> None:
    """Its agent polls."""
    assert not Addresses.of(LOCAL, None, tmp_path / "tunnels").lead_here(None)


def test_without_a_tunnel_nothing_is_kept(tmp_path: Path) -> None:
    """A session on this machine alone leaves no file."""
    assert Addresses.of(LOCAL, None, tmp_path / "tunnels").webhook == LOCAL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given",
    [
        "https://name.example",
        " https://name.example/ ",
        f"https://name.example{PATH}",
    ],
)
def test_a_tunnel_may_be_given_with_or_without_the_path(given: str) -> None:
    """What gates are told is the same."""
    assert Exposed.at(given).webhook == f"https://name.example{PATH}"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "name.example",
        "ftp://name.example",
        "https://",
        "https://[::1",
        "https://name.example:0",
        "https://name.example:many",
        "https://name.example?x",
        "https://name.example#x",
        "https://user:word@name.example",
    ],
)
def test_an_odd_address_is_refused(given: str) -> None:
    """With the remedy, and no traceback of another kind."""
    with pytest.raises(SettingsError, match="is not the address of a tunnel"):
        Exposed.at(given)


def test_the_marker_is_in_no_repr() -> None:
    """It tells this receiver from others, as long as nobody else knows it."""
    exposed = Exposed.at("https://name.example")
    assert exposed.marker not in repr(exposed)


@pytest.mark.parametrize(
    "host, forwarded, path, status",
    [
        ("127.0.0.1:8777", {}, "/", 200),
        ("host.docker.internal:8777", {}, "/v1/pauses", 200),
        ("name.example", {}, "/", 404),
        ("NAME.example:443", {}, "/v1/pauses", 404),
        ("127.0.0.1:8777", {"X-Forwarded-For": "203.0.113.7"}, "/", 404),
        ("127.0.0.1:8777", {"CF-Connecting-IP": "203.0.113.7"}, "/dashboard", 404),
        ("name.example", {}, PATH, 200),
        ("name.example", {}, f"{PATH}/", 404),
        ("name.example", {}, f"/{PATH}", 404),
    ],
)
async def test_what_comes_from_outside_gets_the_webhook_alone(
    host: str, forwarded: dict[str, str], path: str, status: int
) -> None:
    """By its name, or by what a tunnel adds; those on this machine get everything."""
    app = Exposed.at("https://name.example").only_the_webhook(PlainTextResponse("in"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        reply = await http.get(f"http://127.0.0.1{path}", headers={"Host": host, **forwarded})
    assert reply.status_code == status


async def test_without_the_watcher_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session goes on; only saves are not noticed."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    said = io.StringIO()
    reloading = Reloading(OwnCode(()), Graphs({}), "*", _never, Console(file=said, width=200))
    await reloading.run()
    assert "are not watched: pip install 'looppause-resumer[embedded]'" in said.getvalue()


async def test_work_that_breaks_off_is_told_and_ends_alone() -> None:
    """What goes on beside a session never ends it."""
    said = io.StringIO()

    async def work() -> None:
        raise OSError("no more watches")

    async with beside(work(), Console(file=said, width=200)):
        await asyncio.sleep(0.01)
    assert said.getvalue() == "✗ OSError: no more watches\n"


async def _never(_graph: object) -> None:
    raise AssertionError("nothing is loaded")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "env, platform, opens",
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({}, "win32", True),
        ({"CI": "true", "DISPLAY": ":0"}, "linux", False),
        ({"SSH_CONNECTION": "x"}, "darwin", False),
    ],
)
def test_a_desktop_has_a_terminal_and_a_display(
    env: dict[str, str], platform: str, opens: bool
) -> None:
    """And nobody works on it from afar."""
    assert has_desktop(env, _Terminal(), platform) is opens
    assert not has_desktop(env, io.StringIO(), platform)


# -- the user's own agent -----------------------------------------------------------------------

MODULE = """
import os, json as j
from typing import TypedDict as Shape
if os.sep == "/":
    graph = first, [second] = 1, [2]
else:
    def make(): ...
class Payer:
    inner = 1
for loop in ():
    hidden: int = 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody keeps an agent; nothing of it can be imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_one.py").write_text(MODULE + "raise RuntimeError")
    (tmp_path / "starred.py").write_text("from os import *")
    (tmp_path / "broken.py").write_text("graph = = 1")
    (tmp_path / "bag" / "inner").mkdir(parents=True)
    (tmp_path / "bag" / "__init__.py").write_text("graph = 1\nraise RuntimeError")
    (tmp_path / "bag" / "inner" / "deep.py").write_text("graph = 1")
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"own_one:{name}"
            for name in ("graph", "first", "second", "make", "Payer", "j", "Shape")
        ),
        "own_one:hidden",
        "own_one:Payer.inner",
        "own_one.py:graph",
        "my-agent=own_one.py:graph",
        "starred.py:whatever",
        "broken.py:graph",
        "bag:graph",
        "bag.inner.deep:graph",
        "json:loads",
    ],
)
def test_an_agent_that_may_be_there_is_let_pass(folder: Path, path: str) -> None:
    """It is read and not imported; where reading does not tell, importing will."""
    agent = OwnAgent.of(path, None)
    assert agent is not None
    agent.check()


@pytest.mark.parametrize(
    "path, fault",
    [
        ("own_one:grahp", "own_one has no 'grahp': did you mean graph?"),
        ("own_one.py:zzz", "own_one.py has no 'zzz': it has Payer, Shape, first, graph, "),
        ("own_two:graph", "there is no module own_two here"),
        ("own_two.py:graph", "there is no file own_two.py here"),
        ("own_one.deep:graph", "there is no module own_one.deep here"),
        ("bag.outer.deep:graph", "there is no module bag.outer.deep here"),
        ("own_one", "'own_one' is not name=module:attribute"),
        ("a=own_one:graph,b=own_one:first", "is not one module:attribute"),
    ],
)
@pytest.mark.parametrize("option", ["--graph", "--flow"])
def test_a_misspelt_agent_is_told(folder: Path, option: str, path: str, fault: str) -> None:
    """Before anything is started, with what was meant if that can be guessed."""

    def look() -> None:
        agent = OwnAgent.of(*((path, None) if option == "--graph" else (None, path)))
        assert agent is not None
        agent.check()

    with pytest.raises(SettingsError, match=re.escape(fault)) as caught:
        look()
    assert option in str(caught.value)


@pytest.mark.parametrize("text, state", [("7", 7), ('"go"', "go"), ("[1]", [1]), ("{}", {})])
def test_a_thread_starts_with_any_json(text: str, state: Any) -> None:
    """A graph of the functional API may take a text."""
    assert list(states_for(OwnAgent("m:g", "*", is_flow=False), text, None)) == [state]


@pytest.mark.parametrize(
    "text, fault",
    [
        ("go", """a text is given in quotes, as in '"go"'"""),
        ("{'a': 1}", "--input is not JSON"),
        ("null", "null starts nothing"),
    ],
)
def test_an_input_that_starts_nothing_is_refused(text: str, fault: str) -> None:
    """With what to write instead."""
    with pytest.raises(SettingsError, match=re.escape(fault)):
        states_for(OwnAgent("m:g", "*", is_flow=False), text, None)
