"""Gates in real graphs: what they ask, of whom, and what they say afterwards."""

from __future__ import annotations

import asyncio
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from tests.agents import State, on
from tests.contract.claims import NOT_RAISED, Claims
from tests.contract.sdks import Sdk
from tests.fan_out import fan_out
from tests.gates import Payments, asked, one_node

CLAIMS = Claims()

HOUR = 3600


# -- running at all ------------------------------------------------------------------------------


@CLAIMS.breaks(TypeError, "missing 1 required positional argument: 'config'")
def gate_runs_in_current_langgraph(sdk: Sdk) -> None:
    """As the SDK returns it; further down 0.1.0's gate is handed its config by us."""
    with warnings.catch_warnings(action="ignore"):  # LangGraph's, that it will not run
        graph = one_node(sdk.bare_gate(), InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    assert asked(graph) == list(sdk.looppause.pauses)


@CLAIMS.breaks(saying=r"assert not \{'pause_")
def nobody_is_asked_where_nothing_can_hibernate(sdk: Sdk) -> None:
    """Without a checkpointer the answer would find no thread."""
    with suppress(sdk.package.LoopPauseError):
        one_node(sdk.gate()).invoke({"amount": 5}, on("t"))
    assert not sdk.looppause.pauses


@CLAIMS.breaks(NOT_RAISED)
def outage_is_no_decision(sdk: Sdk) -> None:
    """Whoever runs the thread is told, and can run it again when LoopPause is back."""
    graph = one_node(sdk.gate(), InMemorySaver())
    sdk.looppause.fail_next(503, times=10)
    with pytest.raises(sdk.package.LoopPauseUnavailable):
        graph.invoke({"amount": 5}, on("t"))
    sdk.looppause.faults.clear()
    graph.invoke(None, on("t"))
    assert asked(graph) == list(sdk.looppause.pauses) != []


# -- one question, one answer --------------------------------------------------------------------


@CLAIMS.breaks(saying="assert 1 == 2")
def equal_actions_in_two_threads_are_two_questions(sdk: Sdk) -> None:
    """The approval of one run is no approval of another that happens to want the same."""
    _approve_all(sdk)
    graph = one_node(sdk.polling_gate(), InMemorySaver())
    for thread in ("one", "two"):
        graph.invoke({"amount": 5}, on(thread))
    assert len(sdk.looppause.pauses) == 2


@CLAIMS.breaks(saying=r"assert \['pause_(\w+)'\] != \['pause_\1'\]")
def equal_actions_one_after_another_are_two_questions(sdk: Sdk) -> None:
    """A thread that comes back to its gate asks again."""
    graph = one_node(sdk.gate(), InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    first = asked(graph)
    sdk.gates.resume_thread(graph, "t", sdk.looppause.decide(*first))
    graph.invoke({"amount": 5}, on("t"))
    assert asked(graph) != first


@CLAIMS.breaks(saying=r"assert \['pause_(\w+)'\] != \['pause_\1'\]")
def equal_actions_in_two_gates_are_two_questions(sdk: Sdk) -> None:
    """Four eyes: the second gate wants an approval of its own, from somebody else."""
    builder: Any = StateGraph(State)
    somebody_else = [{"channel": "email", "target": "cfo@acme.example"}]
    builder.add_node("one", sdk.gate())
    builder.add_node("two", sdk.gate(state_key="second", recipients=somebody_else))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    first = asked(graph)
    sdk.gates.resume_thread(graph, "t", sdk.looppause.decide(*first))
    assert asked(graph) != first


@CLAIMS.breaks(saying="assert 2 == 3")
def equal_actions_of_a_fan_out_are_questions_of_their_own(sdk: Sdk) -> None:
    """Two payments of 5 are two payments."""
    graph = fan_out(sdk.gate(), [5, 5, 7], InMemorySaver())
    graph.invoke({}, on("t"))
    assert len(set(asked(graph))) == len(sdk.looppause.pauses) == 3


# -- what the graph is told ----------------------------------------------------------------------


@CLAIMS.breaks(KeyError, "fields")
def result_has_the_answers_to_the_form(sdk: Sdk) -> None:
    """What the person filled in is part of the approval."""
    payments = Payments()
    graph = sdk.agent(payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    proof = sdk.looppause.decide(*asked(graph), fields={"cost_center": "R&D"})
    sdk.gates.resume_thread(graph, "t", proof)
    [result] = payments.made
    assert result["fields"] == {"cost_center": "R&D"}


@CLAIMS.breaks(TypeError, "unexpected keyword argument 'form'")
def gate_takes_a_form(sdk: Sdk) -> None:
    """Without one there is nothing to fill in."""
    form = {"fields": [{"name": "cost_center", "type": "text"}]}
    one_node(sdk.gate(form=form), InMemorySaver()).invoke({"amount": 5}, on("t"))
    [document] = sdk.looppause.documents()
    assert document["request"]["form"] == form


class _Model(BaseModel):
    looppause: dict[str, Any] | None = None


@CLAIMS.breaks(
    AttributeError,
    "has no attribute 'get'",
    cases={
        "none": {"looppause": None},
        "pydantic": _Model(looppause={"approved": False}),
        "empty-pydantic": _Model(),
    },
)
def router_halts_whatever_the_state_is(sdk: Sdk, state: Any) -> None:
    """An edge that raises is no halt."""
    assert sdk.gates.route_on_gate()(state) == "halt"


# -- waiting in the node -------------------------------------------------------------------------


@CLAIMS.breaks(saying="assert False is True")
def polling_gate_waits_as_long_as_the_pause(sdk: Sdk) -> None:
    """A question open for 48 hours may be answered after 26."""
    graph = one_node(sdk.polling_gate(timeout_hours=48))

    def then() -> None:
        if sdk.time.passed >= 26 * HOUR:
            sdk.time.then = lambda: None
            sdk.looppause.decide(*sdk.looppause.pauses)

    sdk.time.then = then
    assert graph.invoke({"amount": 5}, on("t"))["looppause"]["approved"] is True


@CLAIMS.breaks(TimeoutError)
async def waiting_gates_leave_the_event_loop_its_threads(sdk: Sdk) -> None:
    """Four agents wait in a loop with two threads: all four have asked, and others still run."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    sdk.time.then = lambda: time.sleep(0.01)
    graph = one_node(sdk.polling_gate())
    runs = [asyncio.create_task(graph.ainvoke({"amount": amount}, on("t"))) for amount in range(4)]
    try:
        async with asyncio.timeout(2):
            while len(sdk.looppause.pauses) < 4:
                await asyncio.sleep(0.01)
            await one_node(lambda _: {"amount": 1}).ainvoke({})
    finally:
        _approve_all(sdk)
        states = await asyncio.gather(*runs)
    assert all(state["looppause"]["approved"] for state in states)


def _approve_all(sdk: Sdk) -> None:
    """Approve whatever waits, and whatever is asked from now on."""

    def approve(document: dict[str, Any]) -> None:
        if document["status"] == "pending":
            sdk.looppause.decide(document["pause_id"])

    sdk.looppause.listeners.append(approve)
    for document in sdk.looppause.documents():
        approve(document)


test_we_hold, test_published_breaks = CLAIMS.tests()
