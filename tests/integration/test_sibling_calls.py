"""Several gated calls in one task: whatever the timing, none spends another's approval."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

import httpx
import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import is_invalid_resume
from langgraph.types import Command, RetryPolicy
from typing_extensions import override

from looppause_sdk import AsyncLoopPauseClient, LoopPauseClient, LoopPauseUnavailable
from looppause_sdk.langchain import gate_tool
from looppause_sdk.testing import AsyncFakeTransport, FakeLoopPause, FakeTransport
from tests.chat import call
from tests.gated import RUNS, USUAL, Run, Till, pauses_by_amount, plain_node, tool_messages


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


class SlowLoopPause(FakeTransport):
    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        time.sleep(random.random() / 200)
        return super().handle_request(request)


class AsyncSlowLoopPause(AsyncFakeTransport):
    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(random.random() / 200)
        return await super().handle_async_request(request)


def slow_client(run: Run, looppause: FakeLoopPause) -> Any:
    """A client whose requests take from 0 to 5 ms."""
    if run is RUNS["async"]:
        http = httpx.AsyncClient(transport=AsyncSlowLoopPause(looppause))
        return AsyncLoopPauseClient("key", looppause.secret, http_client=http, env={})
    slow = httpx.Client(transport=SlowLoopPause(looppause))
    return LoopPauseClient("key", looppause.secret, http_client=slow, env={})


class SlowTill(Till):
    """Payments, and looks at the price list, take from 0 to 5 ms; counts who is inside."""

    inside = 0

    def slow_tool(self) -> Any:
        till = self

        def pay(amount: int) -> str:
            with till:
                time.sleep(random.random() / 200)
                till.paid.append(("Bolt", amount))
            return f"paid {amount}"

        async def apay(amount: int) -> str:
            with till:
                await asyncio.sleep(random.random() / 200)
                till.paid.append(("Bolt", amount))
            return f"paid {amount}"

        made: Any = tool("pay", description="Pay.")(pay)
        made.coroutine = apay
        return made

    def __enter__(self) -> None:
        self.inside += 1

    def __exit__(self, *_: object) -> None:
        self.inside -= 1


@tool
def price(amount: int) -> str:
    """Look at the price list; needs no approval."""
    time.sleep(random.random() / 500)
    return f"price {amount}"


@pytest.mark.parametrize("trials", range(4))
async def test_random_answers_and_timing(run: Run, looppause: FakeLoopPause, trials: int) -> None:
    """Five calls, any order, batches, duplicates: each approved one is paid once, no other ever."""
    random.seed(trials)
    for trial in range(5):
        till = SlowTill()
        gated = gate_tool(till.slow_tool(), slow_client(run, looppause), **USUAL)
        graph = plain_node([gated, price])
        names = ["pay", "pay", "price", "pay", "pay"]
        numbers = [n + 10 * trial + 1000 * trials for n in range(1, 6)]
        calls = [call(name, _id=f"c{n}", amount=n) for name, n in zip(names, numbers, strict=True)]
        looppause.pauses.clear()
        await run.start(graph, *calls, thread_id=str(trial))
        assert till.inside == 0
        await _answer_at_random(run, graph, looppause, till, str(trial))
        pauses = pauses_by_amount(looppause)
        approved = {
            n
            for n, pause_id in pauses.items()
            if looppause.document(pause_id)["proof"]["decision"] == "approved"
        }
        assert len(pauses) == 4
        assert sorted(till.paid) == [("Bolt", n) for n in sorted(approved)]
        state = await run.state(graph, str(trial))
        assert state.next == ()
        for name, n, said in zip(names, numbers, tool_messages(state), strict=True):
            assert said.tool_call_id == f"c{n}"
            expected = f"price {n}" if name == "price" else f"paid {n}"
            assert (said.content == expected) == (name == "price" or n in approved)


async def _answer_at_random(
    run: Run, graph: Any, looppause: FakeLoopPause, till: SlowTill, thread_id: str
) -> None:
    interrupts = await run.waiting(graph, thread_id)
    left = list(interrupts)
    random.shuffle(left)
    proofs: dict[str, Any] = {}
    while left:
        batch = [left.pop() for _ in range(min(len(left), random.randint(1, 2)))]
        for pause_id in batch:
            decision = random.choice(["approved", "approved", "rejected"])
            proofs[interrupts[pause_id]] = looppause.decide(pause_id, decision)
        # Also those delivered before, again.
        again = random.sample(sorted(proofs), random.randint(0, len(proofs)))
        answers = {interrupts[pause_id]: proofs[interrupts[pause_id]] for pause_id in batch}
        answers |= {found: proofs[found] for found in again}
        await run.run(graph, Command(resume=answers), thread_id)
        assert till.inside == 0, "the run returned while a tool was still at work"
        assert set(await run.waiting(graph, thread_id)) == set(left)


# -- calls that are hard to tell apart ---------------------------------------------------------

ALIKE = {
    "one id, other arguments": (["x", "x"], [1, 2]),
    "one id, the same arguments": (["x", "x"], [1, 1]),
    "an id that looks like a count": (["x", "x", "x#2", "x, 2"], [1, 1, 1, 1]),
    "empty ids": (["", "", ""], [1, 2, 2]),
    "the same arguments": (["x", "y"], [1, 1]),
}


@pytest.mark.parametrize("alike", ALIKE)
async def test_calls_that_look_alike(run: Run, looppause: FakeLoopPause, alike: str) -> None:
    """Each has a question of its own, and one answer makes one payment, whoever comes first."""
    ids, amounts = ALIKE[alike]
    till = SlowTill()

    def dawdle(_: Any) -> bool:
        time.sleep(random.random() / 100)
        return True

    gated = gate_tool(till.slow_tool(), slow_client(run, looppause), **USUAL, when=dawdle)
    graph = plain_node([gated])
    calls = [call("pay", _id=i, amount=n) for i, n in zip(ids, amounts, strict=True)]
    await run.start(graph, *calls)
    left = list(await run.waiting(graph))
    assert len(left) == len(calls) == len(looppause.pauses)
    paid: list[tuple[str, int]] = []
    while left:
        pause_id = left.pop(random.randrange(len(left)))
        details = looppause.document(pause_id)["request"]["action"]["details"]
        await run.answer(graph, looppause.decide(pause_id))
        paid.append(("Bolt", details["amount"]))
        assert till.paid == paid
    said = tool_messages(await run.state(graph))
    assert [message.content for message in said] == [f"paid {n}" for n in amounts]


# -- at work while another stops ---------------------------------------------------------------


async def test_the_run_returns_only_once_a_slow_sibling_is_done(
    run: Run, looppause: FakeLoopPause
) -> None:
    """One call still pays when the other interrupts: its result is kept."""
    till = Till()

    @tool
    def pay(amount: int) -> str:
        """Pay, slowly."""
        time.sleep(0.1)
        till.paid.append(("Bolt", amount))
        return f"paid {amount}"

    async def apay(amount: int) -> str:
        await asyncio.sleep(0.1)
        till.paid.append(("Bolt", amount))
        return f"paid {amount}"

    pay.coroutine = apay
    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    await run.start(graph, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
    pauses = pauses_by_amount(looppause)
    for count, amount in enumerate((2, 1), start=1):
        await run.answer(graph, looppause.decide(pauses[amount]))
        assert len(till.paid) == count
    assert till.paid == [("Bolt", 2), ("Bolt", 1)]


async def test_one_that_stops_before_the_other_begins(run: Run, looppause: FakeLoopPause) -> None:
    """The thread shows both questions all the same."""

    def dawdle(arguments: Any) -> bool:
        time.sleep(0.05 if arguments["amount"] == 2 else 0)
        return True

    client = run.client_of(looppause)
    graph = plain_node([gate_tool(Till().tool(), client, **USUAL, when=dawdle)])
    await run.start(graph, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
    assert set(await run.waiting(graph)) == set(looppause.pauses)
    assert len(looppause.pauses) == 2


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_a_refused_answer_is_heard_of_beside_one_that_waits(
    run: Run, looppause: FakeLoopPause, order: tuple[int, int]
) -> None:
    """Whichever comes first: who resumed hears of the forgery, and both still wait."""

    def dawdle(arguments: Any) -> bool:
        time.sleep(0.05 if arguments["amount"] == 2 else 0)
        return True

    client = run.client_of(looppause)
    graph = plain_node([gate_tool(Till().tool(), client, **USUAL, when=dawdle)])
    await run.start(graph, *(call("pay", _id=f"c{n}", amount=n) for n in order))
    waiting = await run.waiting(graph)
    forged = {**looppause.decide(pauses_by_amount(looppause)[1]), "signature": "0" * 64}
    with pytest.raises(ValueError, match="looppause_refused") as caught:
        await run.answer(graph, forged)
    assert is_invalid_resume(caught.value)
    assert await run.waiting(graph) == waiting


HANDLING = pytest.mark.parametrize("handled", [True, False], ids=["handled", "raised"])


@HANDLING
async def test_an_approved_tool_that_raises(
    run: Run, looppause: FakeLoopPause, handled: bool
) -> None:
    """The other call is asked, answered and paid all the same, and paid once."""
    till = Till()

    @tool
    def pay(amount: int) -> str:
        """Pay; the bank is closed for 1."""
        if amount == 1:
            raise ConnectionError("the bank is closed")
        till.paid.append(("Bolt", amount))
        return f"paid {amount}"

    gated = gate_tool(pay, run.client_of(looppause), **USUAL)
    graph = plain_node([gated], handle_tool_errors=handled)
    await run.start(graph, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
    pauses = pauses_by_amount(looppause)
    await _despite(ConnectionError, run.answer(graph, looppause.decide(pauses[1])))
    assert pauses[2] in await run.waiting(graph)
    waiting = await run.waiting(graph)
    resume: Command[Any] = Command(resume={waiting[pauses[2]]: looppause.decide(pauses[2])})
    if handled:
        await run.run(graph, resume)
        said = tool_messages(await run.state(graph))
        assert "the bank is closed" in said[0].content
        assert said[1].content == "paid 2"
    else:
        with pytest.raises(ConnectionError):
            await run.run(graph, resume)
        with pytest.raises(ConnectionError):
            await run.run(graph, None)
    assert till.paid == [("Bolt", 2)]
    assert len(looppause.pauses) == 2


@HANDLING
async def test_a_tool_without_a_gate_that_raises(
    run: Run, looppause: FakeLoopPause, handled: bool
) -> None:
    """The gated call beside it is asked once, and paid once, though the node fails and runs again."""
    till, closed = Till(), [True]

    @tool
    def price() -> str:
        """Look at the price list, unless the shop is closed."""
        if closed[0]:
            raise ConnectionError("the shop is closed")
        return "5"

    gated = gate_tool(till.tool(), run.client_of(looppause), **USUAL)
    graph = plain_node([gated, price], handle_tool_errors=handled)
    calls = call("pay", _id="a", amount=1), call("price", _id="b")
    await _despite(ConnectionError, run.start(graph, *calls))
    closed[0] = False
    await asyncio.sleep(0.02)  # a coroutine beside the one that raised goes on for a moment
    await run.run(graph, None)
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id))
    assert till.paid == [("ACME", 1)]
    assert list(looppause.pauses) == [pause_id]


async def _despite(error: type[Exception], running: Any) -> None:
    with contextlib.suppress(error):
        await running


# -- trying again ------------------------------------------------------------------------------


async def test_a_retry_policy_asks_nothing_twice(run: Run, looppause: FakeLoopPause) -> None:
    """LoopPause fails once, then the bank: the second attempts are the same calls."""
    till, closed = Till(), [True]

    @tool
    def pay(amount: int) -> str:
        """Pay; the bank is closed at first."""
        if closed.pop() if closed else False:
            raise ConnectionError("the bank is closed")
        till.paid.append(("Bolt", amount))
        return f"paid {amount}"

    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=Exception)
    client = run.client_of(looppause, max_attempts=1)
    graph = plain_node([gate_tool(pay, client, **USUAL)], retry_policy=policy)
    looppause.fail_next()
    await run.start(graph, call("pay", amount=1))
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id))
    assert till.paid == [("Bolt", 1)]
    assert list(looppause.pauses) == [pause_id]


async def test_loop_pause_is_away(run: Run, looppause: FakeLoopPause) -> None:
    """The run fails and nothing was paid; once it is back, the thread goes on with one question."""
    till = Till()
    client = run.client_of(looppause, max_attempts=1)
    graph = plain_node([gate_tool(till.tool(), client, **USUAL)])
    looppause.fail_next(times=2)
    calls = [call("pay", _id="a", amount=1), call("pay", _id="b", amount=2)]
    with pytest.raises(LoopPauseUnavailable):
        await run.start(graph, *calls)
    await run.run(graph, None)
    pauses = pauses_by_amount(looppause)
    await run.answer(graph, *(looppause.decide(pause_id) for pause_id in pauses.values()))
    assert sorted(till.paid) == [("ACME", 1), ("ACME", 2)]


async def test_loop_pause_is_away_and_the_node_handles_every_error(
    run: Run, looppause: FakeLoopPause
) -> None:
    """The model is told, and nothing was paid: handling all errors means going on."""
    till = Till()
    client = run.client_of(looppause, max_attempts=1)
    graph = plain_node([gate_tool(till.tool(), client, **USUAL)], handle_tool_errors=True)
    looppause.fail_next()
    state = await run.start(graph, call("pay", amount=1))
    [said] = tool_messages(state)
    assert (said.status, till.paid, len(looppause.pauses)) == ("error", [], 0)
    assert "LoopPauseUnavailable" in said.content


@pytest.mark.parametrize("at_once", [1, 2])
async def test_a_run_with_few_places(run: Run, looppause: FakeLoopPause, at_once: int) -> None:
    """With `max_concurrency` every call is asked and paid in its turn."""
    till = Till()
    graph = plain_node([gate_tool(till.tool(), run.client_of(looppause), **USUAL)])
    graph = graph.with_config(max_concurrency=at_once)
    calls = [call("pay", _id=f"c{n}", amount=n) for n in range(3)]
    await run.start(graph, *calls)
    for _ in calls:
        pause_id = next(iter(await run.waiting(graph)))
        await run.answer(graph, looppause.decide(pause_id))
    assert sorted(till.paid) == [("ACME", n) for n in range(3)]
    assert (await run.state(graph)).next == ()


async def test_a_tool_that_changed_while_the_thread_hibernated(
    run: Run, looppause: FakeLoopPause
) -> None:
    """A deployment adds an argument: what has run stays done, what was asked counts no more."""
    till, saver = Till(), InMemorySaver()

    @tool
    def pay(amount: int) -> str:
        """As it was."""
        till.paid.append(("Bolt", amount))
        return f"paid {amount}"

    before = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)], saver)
    await run.start(before, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
    pauses = pauses_by_amount(looppause)
    await run.answer(before, looppause.decide(pauses[1]))
    after = plain_node([gate_tool(till.tool(), run.client_of(looppause), **USUAL)], saver)
    await run.answer(after, looppause.decide(pauses[2]))
    said = tool_messages(await run.state(after))
    assert said[0].content == "paid 1"
    assert "no longer the one that was approved" in said[1].content
    assert till.paid == [("Bolt", 1)]
    assert len(looppause.pauses) == 2
