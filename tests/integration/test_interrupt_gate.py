"""The interrupt gate in real graphs: it asks once per visit, and hibernates in every saver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy

from looppause_sdk import (
    LoopPauseClient,
    LoopPauseConfigError,
    LoopPauseUnavailable,
    NoCheckpointer,
)
from looppause_sdk.langgraph import resume_thread, route_on_gate
from looppause_sdk.testing import FakeLoopPause, FakeTransport
from tests.agents import State, action_of, client_of, gate, on
from tests.fan_out import fan_out
from tests.gates import (
    DataState,
    ModelState,
    Payments,
    agent,
    agent_with_state,
    amount_of,
    answer,
    asked,
    async_client_of,
    cut_off,
    one_node,
    over,
    requests_since,
)


@pytest.fixture(params=["memory", "postgres"])
def saver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A sync checkpointer of each kind."""
    if request.param == "memory":
        yield InMemorySaver()
        return
    with PostgresSaver.from_conn_string(request.getfixturevalue("database_url")) as saver:
        yield saver


# -- once per visit ----------------------------------------------------------------------------


def test_a_visit_asks_once_and_needs_no_network_to_go_on(
    looppause: FakeLoopPause, saver: Any
) -> None:
    """One pause; with the approval in hand the thread pays though LoopPause is down."""
    payments = Payments()
    graph = agent(looppause, saver, pay=payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    [pause_id] = asked(graph)
    proof = looppause.decide(pause_id, comment="go", fields={"po": 7})
    cut_off(looppause)
    state = answer(graph, proof)
    assert state["done"] == ["paid"]
    assert requests_since(looppause) == 0
    assert list(looppause.pauses) == [pause_id]
    [result] = payments.made
    assert (result["comment"], result["fields"], result["action"]) == (
        "go",
        {"po": 7},
        action_of({"amount": 5}),
    )


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_every_durability_mode_keeps_the_question(
    looppause: FakeLoopPause, database_url: str, durability: Any
) -> None:
    """Whenever the checkpoint is written, the answer finds its question there."""
    with PostgresSaver.from_conn_string(database_url) as saver:
        graph = agent(looppause, saver)
        graph.invoke({"amount": 5}, on("t"), durability=durability)
    proof = looppause.decide(*looppause.pauses)
    cut_off(looppause)
    with PostgresSaver.from_conn_string(database_url) as saver:
        later = agent(looppause, saver)
        assert answer(later, proof, durability=durability)["done"] == ["paid"]
    assert requests_since(looppause) == 0


def test_running_a_waiting_thread_again_asks_nothing_new(
    looppause: FakeLoopPause, saver: Any
) -> None:
    """`invoke(None)` comes back to the same pause."""
    graph = agent(looppause, saver)
    graph.invoke({"amount": 5}, on("t"))
    before = asked(graph)
    graph.invoke(None, on("t"))
    assert asked(graph) == before == list(looppause.pauses)


def test_a_lost_memo_is_made_good_by_the_idempotency_key(
    looppause: FakeLoopPause, database_url: str
) -> None:
    """A process killed before LangGraph stored the memo asks again, and gets the same pause."""
    with PostgresSaver.from_conn_string(database_url) as saver:
        graph = agent(looppause, saver)
        graph.invoke({"amount": 5}, on("t"))
        [pause_id] = asked(graph)
        with psycopg.connect(database_url) as connection:
            lost = connection.execute("delete from checkpoint_writes where channel = '__return__'")
        assert lost.rowcount == 1
        assert answer(graph, looppause.decide(pause_id))["done"] == ["paid"]
    assert list(looppause.pauses) == [pause_id]


def test_a_reply_lost_on_the_way_is_one_pause_still(looppause: FakeLoopPause) -> None:
    """The node's own retry asks with the same key, although LangGraph runs the task anew."""

    class Lossy(FakeTransport):
        lose = True

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            if self.lose:
                self.lose = False
                raise httpx.ReadError("cut off", request=request)
            return response

    client = LoopPauseClient(
        "key",
        looppause.secret,
        http_client=httpx.Client(transport=Lossy(looppause)),
        max_attempts=1,
        env={},
    )
    builder: Any = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=LoopPauseUnavailable)
    builder.add_node("gate", gate(client), retry_policy=policy)
    builder.add_edge(START, "gate")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    assert asked(graph) == list(looppause.pauses)
    assert answer(graph, looppause.decide(*looppause.pauses))["looppause"]["approved"] is True


# -- another visit, another question -----------------------------------------------------------


def test_a_second_visit_is_a_new_question(looppause: FakeLoopPause, saver: Any) -> None:
    """A loop through the gate with the same action is not opened by the first answer."""
    payments = Payments()
    builder: Any = StateGraph(State)
    builder.add_node("gate", gate(client_of(looppause)))
    builder.add_node("pay", payments.pay)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
    builder.add_edge("pay", "gate")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"amount": 5}, on("t"))
    [first] = asked(graph)
    answer(graph, looppause.decide(first))
    [second] = asked(graph)
    assert (len(payments.made), first != second) == (1, True)
    answer(graph, looppause.decide(second))
    assert [result["pause_id"] for result in payments.made] == [first, second]


def test_another_thread_is_a_new_question(looppause: FakeLoopPause) -> None:
    """Two threads with the same action wait for an answer each."""
    graph = agent(looppause, InMemorySaver())
    graph.invoke({"amount": 5}, on("one"))
    graph.invoke({"amount": 5}, on("two"))
    assert asked(graph, "one") != asked(graph, "two")
    answer(graph, looppause.decide(*asked(graph, "one")), "one")
    assert len(asked(graph, "two")) == 1


def test_two_gates_with_equal_actions_are_two_questions(looppause: FakeLoopPause) -> None:
    """Four eyes: the second gate wants an approval of its own."""
    builder: Any = StateGraph(State)
    builder.add_node("one", gate(client_of(looppause)))
    builder.add_node("two", gate(client_of(looppause), state_key="second"))
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    [first] = asked(graph)
    answer(graph, looppause.decide(first))
    [second] = asked(graph)
    assert first != second
    state = answer(graph, looppause.decide(second))
    assert (state["looppause"]["pause_id"], state["second"]["pause_id"]) == (first, second)


@pytest.mark.parametrize("settings", [{}, {"recipients": [{"channel": "email", "target": "b@x"}]}])
def test_two_calls_in_one_node_are_two_questions(
    looppause: FakeLoopPause, settings: dict[str, Any]
) -> None:
    """Even the very same gate, called twice for the very same action."""
    first, second = gate(client_of(looppause)), gate(client_of(looppause), **settings)

    def both(state: State) -> Any:
        return {"looppause": first(state)["looppause"], "second": second(state)["looppause"]}

    graph = one_node(both, InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    opening = looppause.decide(*asked(graph))
    answer(graph, opening)
    [again] = asked(graph)
    assert len(looppause.pauses) == 2
    with pytest.raises(ValueError, match=f"{again} was asked"):
        answer(graph, opening)
    assert answer(graph, looppause.decide(again))["second"]["pause_id"] == again


def test_state_edited_while_it_waits_is_asked_anew(looppause: FakeLoopPause) -> None:
    """LangGraph forks the thread: the old approval finds nothing, the new amount is shown."""
    graph = agent(looppause, InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    [first] = asked(graph)
    graph.update_state(on("t"), {"amount": 1_000_000})
    assert asked(graph) == []
    graph.invoke(None, on("t"))
    [second] = asked(graph)
    shown = looppause.document(second)["request"]["action"]
    assert (first != second, shown) == (True, action_of({"amount": 1_000_000}))


# -- every kind of state, client and run -------------------------------------------------------


@pytest.mark.parametrize("schema", [State, DataState, ModelState])
def test_state_may_be_of_any_kind(looppause: FakeLoopPause, saver: Any, schema: type) -> None:
    """TypedDict, dataclass and pydantic model: asked, answered, routed, paid."""
    payments = Payments()
    node = gate(client_of(looppause), action_builder=amount_of)
    graph = agent_with_state(schema, node, payments.pay, saver)
    graph.invoke({"amount": 5}, on("t"))
    answer(graph, looppause.decide(*asked(graph)))
    assert [result["action"] for result in payments.made] == [action_of({"amount": 5})]


def test_nothing_but_plain_json_is_stored(looppause: FakeLoopPause) -> None:
    """A strict checkpointer, which loads no class that is not LangGraph's own, loses nothing."""
    strict = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    graph = agent(looppause, strict)
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph), fields={"po": 7, "rate": 1.5})
    answer(graph, proof)
    kept = graph.get_state(on("t")).values["looppause"]
    assert (type(kept), kept["fields"]) == (dict, {"po": 7, "rate": 1.5})


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_gate_serves_ainvoke(
    looppause: FakeLoopPause, database_url: str, kind: str
) -> None:
    """With either client, over an async saver."""
    client = {"sync": client_of, "async": async_client_of}[kind](looppause)
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        graph = agent(looppause, saver, client=client)
        await graph.ainvoke({"amount": 5}, on("t"))
        [waiting] = (await graph.aget_state(on("t"))).interrupts
        proof = looppause.decide(waiting.value["pause_id"])
        cut_off(looppause)
        state = await graph.ainvoke(Command(resume={waiting.id: proof}), on("t"))
    assert (state["done"], requests_since(looppause)) == (["paid"], 0)


async def test_many_async_gates_hibernate_at_once(looppause: FakeLoopPause) -> None:
    """Each thread has its own pause, and gets its own answer."""
    graph = agent(looppause, InMemorySaver(), client=async_client_of(looppause))
    threads = [f"t{number}" for number in range(20)]
    await asyncio.gather(*(graph.ainvoke({"amount": 5}, on(thread)) for thread in threads))
    pauses = [asked(graph, thread)[0] for thread in threads]
    assert sorted(pauses) == sorted(looppause.pauses)


def test_the_approval_is_verified_with_a_public_key(looppause_ed25519: FakeLoopPause) -> None:
    """An Ed25519 envelope opens the gate as an HMAC proof does."""
    graph = agent(looppause_ed25519, InMemorySaver())
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause_ed25519.decide(*asked(graph))
    assert "canonical_payload" in proof
    assert answer(graph, proof)["done"] == ["paid"]


# -- where it cannot ask -----------------------------------------------------------------------


@pytest.mark.parametrize("client", [client_of, async_client_of])
async def test_without_a_checkpointer_nobody_is_asked(
    looppause: FakeLoopPause, client: Any
) -> None:
    """The thread would be lost, and the person asked for nothing."""
    graph = one_node(gate(client(looppause)))
    with pytest.raises(NoCheckpointer, match="make_polling_gate"):
        await graph.ainvoke({"amount": 5})
    assert not looppause.pauses


def test_an_outage_raises_and_the_thread_can_be_run_again(
    looppause: FakeLoopPause, saver: Any
) -> None:
    """Nothing was approved, nothing is lost: `invoke(None)` asks when LoopPause is back."""
    graph = agent(looppause, saver, client=client_of(looppause, max_attempts=1))
    looppause.fail_next()
    with pytest.raises(LoopPauseUnavailable):
        graph.invoke({"amount": 5}, on("t"))
    assert not looppause.pauses
    graph.invoke(None, on("t"))
    assert answer(graph, looppause.decide(*asked(graph)))["done"] == ["paid"]


@pytest.mark.parametrize("amount", [float("nan"), {1, 2}, b"x"], ids=["nan", "set", "bytes"])
def test_an_action_that_cannot_be_shown_is_not_asked(looppause: FakeLoopPause, amount: Any) -> None:
    """The error names the action, before LoopPause hears of it."""
    graph = agent(looppause, InMemorySaver(), action_builder=lambda _: {"amount": amount})
    with pytest.raises(LoopPauseConfigError, match="the action must be plain JSON"):
        graph.invoke({"amount": 5}, on("t"))
    assert not looppause.pauses


# -- where gates stand -------------------------------------------------------------------------


def test_parallel_gates_keep_their_answers_apart(looppause: FakeLoopPause, saver: Any) -> None:
    """Each under its own state_key, answered in any order, one at a time."""
    builder: Any = StateGraph(State)
    builder.add_node("one", gate(client_of(looppause)))
    builder.add_node("two", gate(client_of(looppause), state_key="second"))
    builder.add_edge(START, "one")
    builder.add_edge(START, "two")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"amount": 5}, on("t"))
    one, two = asked(graph)
    resume_thread(graph, "t", looppause.decide(two, "rejected"))
    assert asked(graph) == [one]
    state = resume_thread(graph, "t", looppause.decide(one))
    assert (state["looppause"]["approved"], state["second"]["approved"]) == (True, False)
    assert len(looppause.pauses) == 2


@pytest.mark.parametrize("checkpointer", [None, True], ids=["inherited", "own"])
def test_a_gate_in_a_subgraph_asks_once(
    looppause: FakeLoopPause, saver: Any, checkpointer: Any
) -> None:
    """The root graph is resumed, and the subgraph goes on where it hibernated."""
    inner = over(one_node(gate(client_of(looppause))), checkpointer)
    graph = one_node(inner, saver)
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph))
    cut_off(looppause)
    assert answer(graph, proof)["looppause"]["approved"] is True
    assert requests_since(looppause) == 0


def test_each_branch_of_a_fan_out_asks_for_itself(looppause: FakeLoopPause, saver: Any) -> None:
    """Three payments, two of them equal: three questions, three answers."""
    graph = fan_out(gate(client_of(looppause)), [5, 5, 7], saver)
    graph.invoke({}, on("t"))
    pauses = asked(graph)
    assert len(set(pauses)) == 3
    resume_thread(graph, "t", looppause.decide(pauses[1]))
    resume_thread(graph, "t", looppause.decide(pauses[0], "rejected"))
    state = resume_thread(graph, "t", looppause.decide(pauses[2]))
    results = {result["pause_id"]: result["approved"] for result in state["looppause"]}
    assert results == dict(zip(pauses, [False, True, True], strict=True))
    assert len(looppause.pauses) == 3
