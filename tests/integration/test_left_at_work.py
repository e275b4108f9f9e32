"""A node that fails forgets the gated call that is still at work: it must not run twice."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.tools import tool
from langgraph.types import Command

from looppause_sdk.langchain import gate_tool
from looppause_sdk.testing import FakeLoopPause
from tests.chat import call
from tests.gated import RUNS, USUAL, Till, plain_node

RUN = RUNS["async"]


async def test_a_call_left_at_work_is_waited_for(looppause: FakeLoopPause) -> None:
    """A tool without a gate raises while an approved one pays; resumed at once, it pays once."""
    paid: list[int] = []
    is_closed = False

    @tool
    async def pay(amount: int) -> str:
        """Pay."""
        await asyncio.sleep(0.1)
        paid.append(amount)
        return "paid"

    @tool
    async def price() -> str:
        """Look up the price."""
        if is_closed:
            raise ConnectionError("the shop is closed")
        return "5"

    graph = plain_node([gate_tool(pay, RUN.client_of(looppause), **USUAL), price])
    await RUN.start(graph, call("pay", _id="a", amount=1), call("price", _id="b"))
    waiting = await RUN.waiting(graph)
    proof = looppause.decide(*waiting)
    answer: Command[None] = Command(resume={waiting[proof["pause_id"]]: proof})
    is_closed = True
    with pytest.raises(ConnectionError):
        await RUN.run(graph, answer)
    assert paid == []
    is_closed = False
    await RUN.run(graph, answer)
    assert paid == [1]


async def test_a_call_that_needs_nobody_runs_once(looppause: FakeLoopPause) -> None:
    """It stands in one node with a gated one, which runs again for the answer."""
    till = Till()
    needs = gate_tool(
        till.tool(), RUN.client_of(looppause), **USUAL, when=lambda args: args["amount"] > 1000
    )
    graph = plain_node([needs])
    await RUN.start(graph, call("pay", _id="a", amount=10), call("pay", _id="b", amount=5000))
    await RUN.answer(graph, looppause.decide(*looppause.pauses))
    assert sorted(amount for _, amount in till.paid) == [10, 5000]
