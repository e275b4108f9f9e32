"""Resuming a hibernating thread over PostgreSQL: what opens it, what leaves it as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from tests.agents import State, action_of, on
from tests.contract.claims import Claims
from tests.contract.sdks import Sdk
from tests.gates import Payments, answer, asked, cut_off

CLAIMS = Claims()

SHIP = {"type": "ship", "description": "Ship the goods"}


def _amounts(paid: list[int]) -> Any:
    """A payment that goes by the state, as agents' payments do."""

    def pay(state: State) -> dict[str, Any]:
        paid.append(state["amount"])
        return {"done": ["paid"]}

    return pay


def _resume(sdk: Sdk, graph: Any, proof: Any) -> None:
    """With the SDK's own helper, which may refuse."""
    with suppress(sdk.package.LoopPauseError):
        sdk.gates.resume_thread(graph, "t", proof)


# -- what may open a gate ------------------------------------------------------------------------


@CLAIMS.breaks(saying=r"assert \[1000000\] == \[\]")
def proof_of_another_pause_opens_nothing(sdk: Sdk) -> None:
    """An approval of 5 is none of a million, by whichever way it comes in."""
    paid: list[int] = []
    graph = sdk.agent(_amounts(paid))
    graph.invoke({"amount": 5}, on("small"))
    graph.invoke({"amount": 1_000_000}, on("t"))
    proof = sdk.looppause.decide(*asked(graph, "small"))
    _resume(sdk, graph, proof)
    with suppress(ValueError):
        answer(graph, proof)
    assert paid == []


@CLAIMS.breaks(saying="'approved': True")
def proof_delivered_twice_opens_one_gate(sdk: Sdk) -> None:
    """Webhooks come twice; the second copy must not approve the next question."""
    builder: Any = StateGraph(State)
    builder.add_node("one", sdk.gate())
    builder.add_node("two", sdk.gate(state_key="second", action_builder=lambda _: SHIP))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    graph = builder.compile(checkpointer=sdk.postgres())
    graph.invoke({"amount": 5}, on("t"))
    proof = sdk.looppause.decide(*asked(graph))
    for _ in range(2):
        _resume(sdk, graph, proof)
    assert graph.get_state(on("t")).values.get("second") is None


@CLAIMS.breaks(saying=r"assert \[10000\] == \[\]")
def state_changed_while_it_waited_is_not_paid(sdk: Sdk) -> None:
    """A person saw 10; an approval of that does not pay the 10,000 that the state says now."""
    paid: list[int] = []
    graph = sdk.agent(_amounts(paid))
    graph.invoke({"amount": 10}, on("t"))
    proof = sdk.looppause.decide(*asked(graph))
    graph.update_state(on("t"), {"amount": 10_000})
    _resume(sdk, graph, proof)
    assert paid == []


@CLAIMS.breaks(saying="'approved': True")
def price_changed_while_it_waited_is_not_paid(sdk: Sdk) -> None:
    """The same where the action is built from something beside the state."""
    price = {"EUR": 10}
    payments = Payments()
    gate = sdk.gate(action_builder=lambda _: action_of({"amount": price["EUR"]}))
    graph = sdk.agent(payments.pay, gate)
    graph.invoke({"amount": 10}, on("t"))
    proof = sdk.looppause.decide(*asked(graph))
    price["EUR"] = 10_000
    _resume(sdk, graph, proof)
    assert payments.made == []


@CLAIMS.breaks(KeyError, "action")
def result_has_the_action_that_was_approved(sdk: Sdk) -> None:
    """State may move between the gate and the payment: the payment goes by the result."""
    paid: list[int] = []
    builder: Any = StateGraph(State)
    builder.add_node("gate", sdk.gate())
    builder.add_node("meddle", lambda _: {"amount": 10_000})
    builder.add_node(
        "pay", lambda state: paid.append(state["looppause"]["action"]["details"]["amount"])
    )
    for start, end in ((START, "gate"), ("gate", "meddle"), ("meddle", "pay"), ("pay", END)):
        builder.add_edge(start, end)
    graph = builder.compile(checkpointer=sdk.postgres())
    graph.invoke({"amount": 10}, on("t"))
    sdk.gates.resume_thread(graph, "t", sdk.looppause.decide(*asked(graph)))
    assert paid == [10]


# -- what leaves a thread as it was --------------------------------------------------------------


@CLAIMS.breaks(saying=r"assert \[\] == \['pause_")
def forgery_leaves_the_thread_waiting(sdk: Sdk) -> None:
    """Whoever can post to the webhook cannot end what a person has yet to decide."""
    payments = Payments()
    graph = sdk.agent(payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    waiting = asked(graph)
    genuine = sdk.looppause.decide(*waiting)
    _resume(sdk, graph, {**genuine, "signature": "0" * 64})
    assert asked(graph) == waiting
    sdk.gates.resume_thread(graph, "t", genuine)
    assert len(payments.made) == 1


@CLAIMS.breaks(AttributeError, "'str' object has no attribute")
def nonsense_does_not_poison_the_thread(sdk: Sdk) -> None:
    """After an answer that is no proof at all the genuine one is taken."""
    payments = Payments()
    graph = sdk.agent(payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    proof = sdk.looppause.decide(*asked(graph))
    with suppress(ValueError, AttributeError):
        graph.invoke(Command(resume="nonsense"), on("t"))
    sdk.gates.resume_thread(graph, "t", proof)
    assert len(payments.made) == 1


# -- what must not be lost -----------------------------------------------------------------------


@CLAIMS.breaks(saying="assert 0 == 1")
def approval_in_hand_needs_no_network(sdk: Sdk) -> None:
    """LoopPause may be down when its proof arrives."""
    payments = Payments()
    graph = sdk.agent(payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    proof = sdk.looppause.decide(*asked(graph))
    cut_off(sdk.looppause)
    sdk.gates.resume_thread(graph, "t", proof)
    assert len(payments.made) == 1


@CLAIMS.breaks(KeyError, "decision")
def notice_of_a_timeout_closes_the_gate(sdk: Sdk) -> None:
    """Signed, and without a decision: nobody answered."""
    payments = Payments()
    graph = sdk.agent(payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    sdk.gates.resume_thread(graph, "t", sdk.looppause.time_out(*asked(graph)))
    state = graph.get_state(on("t"))
    assert (state.values["looppause"]["approved"], state.next, payments.made) == (False, (), [])


@CLAIMS.breaks(RuntimeError, "must specify the interrupt id")
def parallel_gates_are_answered_one_at_a_time(sdk: Sdk) -> None:
    """Each under a key of its own, in any order."""
    builder: Any = StateGraph(State)
    builder.add_node("one", sdk.gate())
    builder.add_node("two", sdk.gate(state_key="second", action_builder=lambda _: SHIP))
    builder.add_edge(START, "one")
    builder.add_edge(START, "two")
    graph = builder.compile(checkpointer=sdk.postgres())
    graph.invoke({"amount": 5}, on("t"))
    for pause_id in reversed(asked(graph)):
        sdk.gates.resume_thread(graph, "t", sdk.looppause.decide(pause_id))
    values = graph.get_state(on("t")).values
    assert [values[key]["approved"] for key in ("looppause", "second")] == [True, True]


# -- the helper ----------------------------------------------------------------------------------


@CLAIMS.breaks(TypeError, "not subscriptable")
def helper_returns_what_the_graph_returns(sdk: Sdk) -> None:
    """Whether it paid, or hibernates at the next gate."""
    graph = sdk.agent(lambda _: {"done": ["paid"]})
    graph.invoke({"amount": 5}, on("t"))
    proof = sdk.looppause.decide(*asked(graph))
    assert sdk.gates.resume_thread(graph, "t", proof)["done"] == ["paid"]


@CLAIMS.breaks(AttributeError, "aresume_thread")
def helper_has_an_async_form(sdk: Sdk) -> Any:
    """A web service holds an async saver, which the sync helper cannot use."""
    return _with_async_saver(sdk, sdk.new_database())


async def _with_async_saver(sdk: Sdk, url: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        graph = sdk.agent(lambda _: {"done": ["paid"]}, saver=saver)
        await graph.ainvoke({"amount": 5}, on("t"))
        proof = sdk.looppause.decide(*sdk.looppause.pauses)
        state = await sdk.gates.aresume_thread(graph, "t", proof)
    assert state["done"] == ["paid"]


test_we_hold, test_published_breaks = CLAIMS.tests()
