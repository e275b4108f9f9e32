"""Threads that hibernate in gated calls, and the receiver that resumes them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from langchain_core.tools import tool

from looppause_sdk import LoopPauseUnavailable
from looppause_sdk.langchain import gate_tool
from tests import agents
from tests.chat import call, calling
from tests.gated import AGENTS, USUAL, HearingChat, Till, pauses_by_amount, plain_node
from tests.gates import async_client_of
from tests.integration.conftest import Rig

# langgraph-supervisor 0.0.31 builds its supervisor with what LangGraph has since moved.
pytestmark = pytest.mark.filterwarnings(
    "ignore:create_react_agent has been moved::langgraph_supervisor"
)

CALLS = [call("pay", _id=f"c{n}", amount=n) for n in range(1, 5)]


@pytest.fixture(params=["sync client", "async client"])
def client(request: pytest.FixtureRequest, rig: Rig) -> Any:
    return rig.client() if request.param == "sync client" else async_client_of(rig.looppause)


async def hibernate(rig: Rig, graph: Any, thread_id: str = "t1") -> dict[int, str]:
    """Run a thread to its gates; return its pauses by amount."""
    before = set(rig.looppause.pauses)
    async with agents.hibernating(graph, rig.url) as attached:
        await attached.ainvoke({"messages": [calling(*CALLS)]}, agents.on(thread_id))
    found = pauses_by_amount(rig.looppause)
    return {amount: pause_id for amount, pause_id in found.items() if pause_id not in before}


@pytest.mark.parametrize("kind", AGENTS)
async def test_proofs_in_any_order_and_at_once(rig: Rig, client: Any, kind: str) -> None:
    """Four calls: answered in random order, three times each; one is rejected."""
    till, model = Till(), HearingChat([calling(*CALLS)])
    graph = AGENTS[kind](client, [till.tool()], model, None)
    resumer = await rig.receiver({"billing": graph})
    async with agents.hibernating(graph, rig.url) as attached:
        await attached.ainvoke({"messages": ["pay"]}, agents.on("t1"))
    pauses = pauses_by_amount(rig.looppause)
    proofs = [
        rig.looppause.decide(pause_id, "rejected" if amount == 3 else "approved")
        for amount, pause_id in pauses.items()
    ] * 3
    random.shuffle(proofs)
    await asyncio.gather(*(rig.deliver(resumer, proof) for proof in proofs))
    for pause_id in pauses.values():
        await rig.until_state(pause_id, "resumed", seconds=20)
    assert sorted(amount for _, amount in till.paid) == [1, 2, 4]
    assert len(pauses) == len(rig.looppause.pauses) == 4
    assert (await rig.state(graph, "t1")).next == ()
    assert "DENIED" in model.heard["c3"].content


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 2, 3, 1)])
async def test_a_plain_node_answered_one_by_one(
    rig: Rig, client: Any, order: tuple[int, ...]
) -> None:
    """The thread hibernates again until the last one, and no call is run twice."""
    till = Till()
    graph = plain_node([gate_tool(till.tool(), client, **USUAL)])
    graph.checkpointer = None
    resumer = await rig.receiver({"billing": graph})
    pauses = await hibernate(rig, graph)
    for count, amount in enumerate(order, start=1):
        await rig.deliver(resumer, rig.looppause.decide(pauses[amount]))
        await rig.until_state(pauses[amount], "resumed")
        assert [paid for _, paid in till.paid] == list(order[:count])
    assert (await rig.state(graph, "t1")).next == ()


async def test_many_threads_at_once(rig: Rig, client: Any) -> None:
    """Six threads of four calls each: 24 payments, none of them twice."""
    till = Till()
    graph = plain_node([gate_tool(till.tool(), client, **USUAL)])
    graph.checkpointer = None
    resumer = await rig.receiver({"billing": graph})
    async with agents.hibernating(graph, rig.url) as attached:
        for thread in range(6):
            calls = [call("pay", _id=f"c{n}", amount=10 * thread + n) for n in range(4)]
            value = {"messages": [calling(*calls)]}
            await attached.ainvoke(value, agents.on(f"t{thread}"))
    proofs = [rig.looppause.decide(pause_id) for pause_id in list(rig.looppause.pauses)]
    random.shuffle(proofs)
    await asyncio.gather(*(rig.deliver(resumer, proof) for proof in proofs))
    for proof in proofs:
        await rig.until_state(proof["pause_id"], "resumed", seconds=30)
    assert sorted(n for _, n in till.paid) == sorted(10 * t + n for t in range(6) for n in range(4))


async def test_loop_pause_is_away_on_resume(rig: Rig, client: Any) -> None:
    """Hibernating siblings need no network to go on hibernating."""
    till = Till()
    graph = plain_node([gate_tool(till.tool(), client, **USUAL)])
    graph.checkpointer = None
    resumer = await rig.receiver({"billing": graph})
    pauses = await hibernate(rig, graph)
    proofs = {amount: rig.looppause.decide(pause_id) for amount, pause_id in pauses.items()}
    rig.looppause.fail_next(times=1000)
    for amount in (2, 1, 4, 3):
        await rig.deliver(resumer, proofs[amount])
        await rig.until_state(pauses[amount], "resumed")
    assert [amount for _, amount in till.paid] == [2, 1, 4, 3]
    assert len(rig.looppause.faults) == 1000


async def test_a_tool_that_fails_is_tried_again(rig: Rig, client: Any) -> None:
    """The receiver's retries bring the approved call back, and its siblings stay as they are."""
    till, closed = Till(), [True]

    @tool
    def pay(amount: int) -> str:
        """Pay; the bank is closed at first."""
        if closed.pop() if closed else False:
            raise LoopPauseUnavailable("the bank is closed")
        till.paid.append(("Bolt", amount))
        return f"paid {amount}"

    graph = plain_node([gate_tool(pay, client, **USUAL)])
    graph.checkpointer = None
    resumer = await rig.receiver({"billing": graph})
    pauses = await hibernate(rig, graph)
    for amount in (1, 2, 3, 4):
        await rig.deliver(resumer, rig.looppause.decide(pauses[amount]))
        await rig.until_state(pauses[amount], "resumed")
    assert sorted(amount for _, amount in till.paid) == [1, 2, 3, 4]
    assert len(rig.looppause.pauses) == 4
    assert (await rig.state(graph, "t1")).next == ()
