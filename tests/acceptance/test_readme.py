"""What the README shows is what happens."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.langgraph import resume_thread
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.emulator import Emulator
from resumer.serving import serving
from tests import agents

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's blocks of code in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_the_example_asks_and_pays(
    looppause: FakeLoopPause, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first example, run as it stands, asks once and pays after the approval."""
    async with serving(Emulator(looppause, deliver=False).app, lifespan="on") as address:
        monkeypatch.setenv("LOOPPAUSE_API_URL", address)
        monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
        monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
        names: dict[str, Any] = {}
        exec(compile(blocks("python")[0], "README.md", "exec", dont_inherit=True), names)  # noqa: S102  (the README's)
        graph = names["graph"]
        graph.checkpointer = InMemorySaver()
        await asyncio.to_thread(graph.invoke, {"amount": 12}, agents.on("t1"))
        [document] = looppause.documents()
        proof = looppause.decide(document["pause_id"], responder="ada")
        await asyncio.to_thread(resume_thread, graph, "t1", proof)
    said = capsys.readouterr().out
    assert "paying {'type': 'payment', 'description': 'Pay 12 EUR'} approved by ada" in said
    assert document["pause_id"] in said


def test_the_mounting_example_compiles(database_url: str, looppause: FakeLoopPause) -> None:
    """The second example makes an application with the receiver inside."""
    code = blocks("python")[1].replace("database_url=…", "database_url=url")
    code = code.replace("signing_secrets=[…]", "signing_secrets=[secret]")
    names: dict[str, Any] = {
        "Resumer": Resumer,
        "Starlette": Starlette,
        "Mount": Mount,
        "graph": agents.payment_agent(agents.client_of(looppause), print),
        "url": database_url,
        "secret": looppause.secret,
    }
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)  # noqa: S102  (the README's)
    assert [route.path for route in names["app"].routes] == ["/looppause"]


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    """Under 150 lines, the example by line 30, no dead link into the repository."""
    assert len(README.splitlines()) < 150
    assert README.splitlines().index("```python") < 30
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
