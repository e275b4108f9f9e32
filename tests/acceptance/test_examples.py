"""The agents in examples/ do what they say."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from looppause_sdk.langgraph import resume_thread
from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from resumer.serving import serving
from tests import agents

EXAMPLES = Path(__file__).parents[2] / "examples"
ASKED = {"messages": [{"role": "user", "content": "Pay the invoice of ACME."}]}


@pytest.fixture
async def asking(
    looppause: FakeLoopPause, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FakeLoopPause]:
    """A LoopPause that the environment points at."""
    async with serving(Emulator(looppause, deliver=False).app, lifespan="on") as address:
        monkeypatch.setenv("LOOPPAUSE_API_URL", address)
        monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
        monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
        monkeypatch.delenv("MODEL", raising=False)
        yield looppause


@pytest.mark.parametrize(
    "decision, fields, ends_with",
    [
        ("approved", None, "PAID 4800 EUR to ACME, approved by ada, idempotency key {pause_id}"),
        ("approved", {"amount": 4000}, "PAID 4000 EUR to ACME, approved by ada"),
        ("rejected", {"amount": 1}, "DENIED: pay was not run, because the reviewer rejected it."),
    ],
)
async def test_the_langchain_agent(
    asking: FakeLoopPause, decision: str, fields: dict[str, Any] | None, ends_with: str
) -> None:
    """It pays what a person has approved, or the amount they put in its place."""
    graph = runpy.run_path(str(EXAMPLES / "langchain_agent.py"))["graph"]
    graph.checkpointer = InMemorySaver()
    await asyncio.to_thread(graph.invoke, ASKED, agents.on("t"))
    [document] = asking.documents()
    pause_id = document["pause_id"]
    assert document["request"]["action"]["details"] == {
        "amount": 4800,
        "to": "ACME",
        "currency": "EUR",
    }
    proof = asking.decide(pause_id, decision, responder="ada", fields=fields)
    state = await asyncio.to_thread(resume_thread, graph, "t", proof)
    assert ends_with.format(pause_id=pause_id) in state["messages"][-1].text
