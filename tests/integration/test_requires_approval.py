"""Gated functions: tasks of the functional API, and functions that nodes call."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, RetryPolicy, Send, StreamWriter
from pydantic import ValidationError

from looppause_sdk import ApprovalDenied, LoopPauseConfigError, NoCheckpointer
from looppause_sdk.langgraph import requires_approval
from looppause_sdk.testing import FakeLoopPause
from tests.gated import RUNS, USUAL, Run, pauses_by_amount


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


@dataclass
class Bank:
    """A gated function in the form that the run needs, and what it paid."""

    run: Run
    client: Any
    paid: list[int] = field(default_factory=list)

    def pay(self, **settings: Any) -> Callable[..., Any]:
        gated = requires_approval(self.client, **{**USUAL, **settings})
        if not self.run.is_async:

            def pay(amount: int, to: str = "ACME") -> str:
                self.paid.append(amount)
                return f"paid {amount}"

            return gated(pay)

        async def apay(amount: int, to: str = "ACME") -> str:
            self.paid.append(amount)
            return f"paid {amount}"

        apay.__name__ = "pay"
        return gated(apay)


@pytest.fixture
def bank(run: Run, looppause: FakeLoopPause) -> Bank:
    return Bank(run, run.client_of(looppause))


class Done(TypedDict, total=False):
    done: Annotated[list[str], operator.add]
    amount: int


def in_one_node(run: Run, body: Callable[[Callable[..., Any]], Any], pay: Any, **add: Any) -> Any:
    """START → a node whose coroutine is `body`; under `invoke` the same steps in sync form."""

    async def later(_: Done) -> dict[str, Any]:
        return {"done": await body(pay)}

    async def call(*args: Any) -> Any:
        return pay(*args)

    def now(_: Done) -> dict[str, Any]:
        stepping = body(call)
        try:
            stepping.send(None)
        except StopIteration as end:
            return {"done": end.value}
        raise AssertionError("a sync node has nothing to wait for")

    builder: Any = StateGraph(Done)
    builder.add_node("node", later if run.is_async else now, **add)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=InMemorySaver())


# -- in nodes ----------------------------------------------------------------------------------


async def test_one_after_the_other_in_a_node(bank: Bank, looppause: FakeLoopPause) -> None:
    """The first is not asked nor run again when the second is answered."""

    async def body(pay: Any) -> list[str]:
        return [await pay(1), await pay(2), await pay(2)]

    run = bank.run
    graph = in_one_node(run, body, bank.pay())
    await run.run(graph, {})
    for count in (1, 2, 3):
        [pause_id] = await run.waiting(graph)
        await run.answer(graph, looppause.decide(pause_id))
        assert len(bank.paid) == count
    assert bank.paid == [1, 2, 2]
    assert (await run.state(graph)).values["done"] == ["paid 1", "paid 2", "paid 2"]
    assert len(looppause.pauses) == 3


async def test_a_denial_is_raised_with_its_result(bank: Bank, looppause: FakeLoopPause) -> None:
    """The node may go on from it; on a later execution it is raised again."""
    denials: list[Any] = []

    async def body(pay: Any) -> list[str]:
        try:
            first = await pay(1)
        except ApprovalDenied as denied:
            denials.append(denied)
            first = "not paid"
        return [first, await pay(2)]

    run = bank.run
    graph = in_one_node(run, body, bank.pay())
    await run.run(graph, {})
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id, "rejected", comment="too dear"))
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id))
    assert (await run.state(graph)).values["done"] == ["not paid", "paid 2"]
    for denied in denials:
        assert (denied.result["halt_reason"], denied.result["comment"]) == ("rejected", "too dear")
        assert "too dear" in str(denied)
    assert len(denials) == 2
    assert bank.paid == [2]


async def test_arguments_that_moved_meanwhile(bank: Bank, looppause: FakeLoopPause) -> None:
    """Approved was 10; on resume it is 10,000: the answer counts for nothing."""
    prices = [10]

    async def body(pay: Any) -> list[str]:
        return [await pay(prices[0])]

    run = bank.run
    graph = in_one_node(run, body, bank.pay())
    await run.run(graph, {})
    prices[0] = 10_000
    with pytest.raises(ApprovalDenied) as caught:
        await run.answer(graph, looppause.decide(*looppause.pauses))
    assert caught.value.result["halt_reason"] == "action_changed"
    assert bank.paid == []


async def test_edits_of_the_fields_allowed(bank: Bank, looppause: FakeLoopPause) -> None:
    """The amount is the reviewer's, the payee stays."""

    async def body(pay: Any) -> list[str]:
        return [await pay(10, "Bolt")]

    run = bank.run
    graph = in_one_node(run, body, bank.pay(fields=["amount"]))
    await run.run(graph, {})
    edits = {"amount": 7, "to": "Mallory"}
    await run.answer(graph, looppause.decide(*looppause.pauses, fields=edits))
    assert bank.paid == [7]


async def test_a_forged_answer_changes_nothing(bank: Bank, looppause: FakeLoopPause) -> None:
    """Raised at who resumed; the genuine one is taken afterwards."""

    async def body(pay: Any) -> list[str]:
        return [await pay(1)]

    run = bank.run
    graph = in_one_node(run, body, bank.pay())
    await run.run(graph, {})
    proof = looppause.decide(*looppause.pauses)
    with pytest.raises(ValidationError):
        await run.answer(graph, {**proof, "signature": "0" * 64})
    await run.answer(graph, proof)
    assert bank.paid == [1]


async def test_a_node_with_a_retry_policy(bank: Bank, looppause: FakeLoopPause) -> None:
    """What fails after the payment makes the node run again, and the payment not."""
    failing = [True]

    async def body(pay: Any) -> list[str]:
        said = [await pay(1)]
        if failing.pop() if failing else False:
            raise ConnectionError("the ledger is closed")
        return said

    run = bank.run
    policy = RetryPolicy(initial_interval=0.001, jitter=False)
    graph = in_one_node(run, body, bank.pay(), retry_policy=policy)
    await run.run(graph, {})
    await run.answer(graph, looppause.decide(*looppause.pauses))
    assert bank.paid == [1]
    assert len(looppause.pauses) == 1
    assert (await run.state(graph)).next == ()


async def test_many_at_once_in_a_node(looppause: FakeLoopPause) -> None:
    """asyncio.gather, answered in reverse: all are shown, each runs once."""
    run = RUNS["async"]
    bank = Bank(run, run.client_of(looppause))

    async def body(pay: Any) -> list[str]:
        return list(await asyncio.gather(*(pay(n) for n in range(4))))

    graph = in_one_node(run, body, bank.pay())
    await run.run(graph, {})
    pauses = pauses_by_amount(looppause)
    assert set(await run.waiting(graph)) == set(pauses.values())
    for amount in (3, 2, 1, 0):
        await run.answer(graph, looppause.decide(pauses[amount]))
    assert bank.paid == [3, 2, 1, 0]
    assert (await run.state(graph)).values["done"] == [f"paid {n}" for n in range(4)]


# -- tasks -------------------------------------------------------------------------------------


def workflow(run: Run, pay: Any, amounts: list[int], *, at_once: bool) -> Any:
    """An @entrypoint that pays in @tasks, side by side or one after the other."""
    paying = task(pay)
    if run.is_async:

        @entrypoint(checkpointer=InMemorySaver())
        async def later(_: Any) -> Any:
            if at_once:
                return await asyncio.gather(*(paying(amount) for amount in amounts))
            return [await paying(amount) for amount in amounts]

        return later

    @entrypoint(checkpointer=InMemorySaver())
    def now(_: Any) -> Any:
        if at_once:
            return [future.result() for future in [paying(amount) for amount in amounts]]
        return [paying(amount).result() for amount in amounts]

    return now


async def test_tasks_in_a_loop(bank: Bank, looppause: FakeLoopPause) -> None:
    """One question after the other, also for equal arguments."""
    run = bank.run
    graph = workflow(run, bank.pay(), [1, 1, 2], at_once=False)
    result = await run.run(graph, "go")
    for _ in range(3):
        [pause_id] = await run.waiting(graph)
        result = await run.answer(graph, looppause.decide(pause_id))
    assert result == ["paid 1", "paid 1", "paid 2"]
    assert bank.paid == [1, 1, 2]
    assert len(looppause.pauses) == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
async def test_tasks_side_by_side(
    bank: Bank, looppause: FakeLoopPause, order: tuple[int, ...]
) -> None:
    """Answered in any order: each approval pays its own, though LangGraph shows only the first."""
    run = bank.run
    graph = workflow(run, bank.pay(), [0, 1, 2], at_once=True)
    await run.run(graph, "go")
    pauses, interrupts = pauses_by_amount(looppause), await run.asked(graph)
    result = None
    for amount in order:
        proof = looppause.decide(pauses[amount])
        result = await run.run(graph, Command(resume={interrupts[pauses[amount]]: proof}))
    assert bank.paid == list(order)
    assert result == ["paid 0", "paid 1", "paid 2"]


# -- what is shown -----------------------------------------------------------------------------


class Treasury:
    def __init__(self, client: Any) -> None:
        self.paid: list[Decimal] = []
        self.pay = requires_approval(client, **USUAL)(self._pay)

    def _pay(self, amount: Decimal) -> Decimal:
        self.paid.append(amount)
        return amount


async def test_a_method(looppause: FakeLoopPause) -> None:
    """The object is not shown; what is returned keeps its type."""
    run = RUNS["sync"]
    treasury = Treasury(run.client_of(looppause))

    async def body(pay: Any) -> list[Any]:
        return [await pay(Decimal("1.50")), await pay(Decimal(2))]

    graph = in_one_node(run, body, treasury.pay)
    await run.run(graph, {})
    [document] = looppause.pauses.values()
    assert document["request"]["action"]["details"] == {"amount": "1.50"}
    for _ in range(2):
        [pause_id] = await run.waiting(graph)
        await run.answer(graph, looppause.decide(pause_id))
    assert (await run.state(graph)).values["done"] == [Decimal("1.50"), Decimal(2)]
    assert treasury.paid == [Decimal("1.50"), Decimal(2)]


@dataclass
class Context:
    tenant: str


async def test_what_langgraph_injects_is_not_shown(looppause: FakeLoopPause) -> None:
    """Config, runtime, store and writer reach the task, and the person sees none of it."""
    run = RUNS["sync"]
    got: list[Any] = []

    @task
    @requires_approval(run.client_of(looppause), **USUAL)
    def pay(
        amount: int,
        config: RunnableConfig,
        *,
        runtime: Runtime[Context],
        store: BaseStore,
        writer: StreamWriter,
    ) -> str:
        writer("paying")
        tenant = get_runtime(Context).context.tenant
        got.append((amount, config["configurable"]["thread_id"], runtime.context.tenant, tenant))
        assert store is inner_store
        return "paid"

    inner_store = InMemoryStore()

    @entrypoint(checkpointer=InMemorySaver(), store=inner_store, context_schema=Context)
    def graph(amount: int) -> str:
        paying: Any = pay
        return str(paying(amount).result())

    await run.run(graph, 5, context=Context("acme"))
    [document] = looppause.pauses.values()
    assert document["request"]["action"]["details"] == {"amount": 5}
    interrupts = await run.waiting(graph)
    proof = looppause.decide(*interrupts)
    resume: Command[Any] = Command(resume={interrupts[proof["pause_id"]]: proof})
    assert await run.run(graph, resume, context=Context("acme")) == "paid"
    assert got == [(5, "t", "acme", "acme")]


async def test_arguments_without_a_json_form(bank: Bank, looppause: FakeLoopPause) -> None:
    """What cannot be shown cannot be approved: the error names it."""

    async def body(pay: Any) -> list[str]:
        return [await pay(object())]

    graph = in_one_node(bank.run, body, bank.pay())
    with pytest.raises(LoopPauseConfigError, match="pay"):
        await bank.run.run(graph, {})
    assert (bank.paid, len(looppause.pauses)) == ([], 0)


# -- where -------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpointer", [None, True])
async def test_in_a_subgraph(bank: Bank, looppause: FakeLoopPause, checkpointer: Any) -> None:
    """With the parent's checkpointer, or a memory of its own: a second visit asks anew."""
    run = bank.run

    async def body(pay: Any) -> list[str]:
        return [await pay(1)]

    inner = in_one_node(run, body, bank.pay())
    inner.checkpointer = checkpointer
    builder: Any = StateGraph(Done)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    builder.add_conditional_edges(
        "inner", lambda _: "inner" if len(bank.paid) < 2 else "__end__", ["inner", "__end__"]
    )
    graph = builder.compile(checkpointer=InMemorySaver())
    await run.run(graph, {})
    for _ in range(2):
        [pause_id] = await run.waiting(graph)
        await run.answer(graph, looppause.decide(pause_id))
    assert bank.paid == [1, 1]
    assert len(looppause.pauses) == 2
    assert (await run.state(graph)).next == ()


async def test_in_a_fan_out(bank: Bank, looppause: FakeLoopPause) -> None:
    """Send to the same node: each visit has its own question, answered in any order."""
    run, pay = bank.run, bank.pay()

    async def later(state: Done) -> dict[str, Any]:
        return {"done": [await pay(state["amount"])]}

    def now(state: Done) -> dict[str, Any]:
        return {"done": [pay(state["amount"])]}

    builder: Any = StateGraph(Done)
    builder.add_node("each", later if run.is_async else now)
    sends = [Send("each", {"amount": n}) for n in (1, 2, 3)]
    builder.add_conditional_edges(START, lambda _: sends, ["each"])
    graph = builder.compile(checkpointer=InMemorySaver())
    await run.run(graph, {})
    pauses = pauses_by_amount(looppause)
    for amount in (2, 3, 1):
        await run.answer(graph, looppause.decide(pauses[amount]))
    assert bank.paid == [2, 3, 1]
    assert (await run.state(graph)).values["done"] == ["paid 1", "paid 2", "paid 3"]


async def test_a_subgraph_without_memory_forgets(bank: Bank, looppause: FakeLoopPause) -> None:
    """checkpointer=False: every answer is met by a new question, and nothing is ever paid."""

    async def body(pay: Any) -> list[str]:
        return [await pay(1)]

    run = bank.run
    inner = in_one_node(run, body, bank.pay())
    inner.checkpointer = False
    builder: Any = StateGraph(Done)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    graph = builder.compile(checkpointer=InMemorySaver())
    await run.run(graph, {})
    for _ in range(2):
        [pause_id] = await run.waiting(graph)
        await run.answer(graph, looppause.decide(pause_id))
    assert bank.paid == []
    assert len(looppause.pauses) == 3


async def test_without_a_checkpointer_nothing_is_asked(
    bank: Bank, looppause: FakeLoopPause
) -> None:
    """Nor outside a graph."""

    async def body(pay: Any) -> list[str]:
        return [await pay(1)]

    graph = in_one_node(bank.run, body, bank.pay())
    graph.checkpointer = None
    with pytest.raises(NoCheckpointer):
        await bank.run.run(graph, {})
    with pytest.raises(NoCheckpointer):
        await _by_hand(bank.pay())
    assert (bank.paid, len(looppause.pauses)) == ([], 0)


async def _by_hand(pay: Any) -> None:
    called = pay(1)
    await called


@pytest.mark.parametrize("wrong", [task(lambda: None), partial(print), Bank])
def test_the_wrong_order_of_decorators(looppause: FakeLoopPause, wrong: Any) -> None:
    """A gate above @task would ask outside the task: refused."""
    with pytest.raises(LoopPauseConfigError, match="below"):
        requires_approval(RUNS["sync"].client_of(looppause), **USUAL)(wrong)
