"""Several graphs over one database: a thread is resumed with its own, or not at all."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from looppause_sdk.langgraph import route_on_gate
from resumer.db import open_pool
from resumer.graphs import Graphs
from resumer.operator.dashboard.thread_views import ThreadViews
from tests import agents

from .conftest import Rig, until

OTHER_AGENT = {"agent_id": "somebody-else"}


def agent_with(gate: Any, pay: Any, node: str) -> Any:
    """START → the gate, under this name → pay."""
    builder = StateGraph(agents.State)
    builder.add_node(node, gate)
    builder.add_node("pay", pay)
    builder.add_edge(START, node)
    builder.add_conditional_edges(node, route_on_gate(), {"approved": "pay", "halt": END})
    builder.add_edge("pay", END)
    return builder.compile()


def never(_state: Any) -> Any:
    """Pay, in the graph that is not meant."""
    raise AssertionError("the wrong graph was run")


def without_a_name(gate: Any) -> Any:
    """The gate of the published 0.1.0, whose interrupts do not say who asks."""

    def old(state: agents.State) -> Any:
        proof = interrupt({"pause_id": gate(state), "action": agents.action_of(state)})
        return {"looppause": {"approved": proof["decision"] == "approved"}}

    return old


def asks(rig: Rig) -> Any:
    """Open a pause, once for each thread."""

    def ask(state: agents.State) -> str:
        pause = rig.client().open_pause(
            agent_id="procurement",
            action=agents.action_of(state),
            recipients=agents.RECIPIENTS,
            idempotency_key="old-gate",
        )
        return str(pause.pause_id)

    return ask


async def until_looked_at(rig: Rig, pause_id: str) -> Any:
    """Wait until the pause has a reason not to be resumed; return its record."""

    async def with_reason() -> Any:
        record = await rig.pause(pause_id)
        return record if record and record["reason_code"] else None

    return await until(with_reason)


@pytest.mark.parametrize(
    "gate, names",
    [
        ({"agent_id": "travel"}, ("procurement", "travel")),
        ({"graph": "travel"}, ("procurement", "travel")),
        ({"graph": "travel", **OTHER_AGENT}, ("procurement", "travel")),
        ({"graph": "travel"}, ("*", "travel")),
        (OTHER_AGENT, ("procurement", "*")),
    ],
)
async def test_what_the_gate_says_chooses(
    rig: Rig, gate: dict[str, str], names: tuple[str, str]
) -> None:
    """By the graph's name if the gate gives one, else by the agent's id, else `*`: never the other."""
    mine = rig.agent(**gate)
    other = agents.payment_agent(rig.client(), never)
    [pause_id] = await rig.hibernate(mine, "t")
    receiver = await rig.receiver(dict(zip(names, (other, mine), strict=True)))
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_a_graph_that_is_named_and_not_there_is_waited_for(rig: Rig) -> None:
    """No other takes its place, though the agent's id would fit: it may be deployed yet."""
    [pause_id] = await rig.hibernate(rig.agent(graph="travel"), "t")
    receiver = await rig.receiver()
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    record = await until_looked_at(rig, pause_id)
    assert record["reason_code"] == "no_graph"
    assert "the gate names graph 'travel', which is not registered" in record["reason"]
    assert rig.ledger.payments == []


async def test_the_node_tells_where_the_gate_does_not(rig: Rig) -> None:
    """A thread whose gate names nobody is of the one graph that has the nodes it has been in."""
    gate = without_a_name(asks(rig))
    mine = agent_with(gate, rig.ledger.pay, "sign_off")
    other = agent_with(gate, never, "review")
    [pause_id] = await rig.hibernate(mine, "t")
    receiver = await rig.receiver({"a": other, "b": mine})
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_what_could_be_several_graphs_parks(rig: Rig) -> None:
    """Nothing is run on a guess; a person reads which graphs it could be, and what to do."""
    gate = without_a_name(asks(rig))
    mine = agent_with(gate, rig.ledger.pay, "gate")
    [pause_id] = await rig.hibernate(mine, "t")
    receiver = await rig.receiver({"a": mine, "b": copy.copy(mine)})
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    record = await rig.until_state(pause_id, "parked")
    assert record["reason_code"] == "ambiguous"
    assert record["reason"].startswith("the gate names neither agent nor graph, and the thread")
    assert "could be of 'a' and 'b': have the gate name its graph (graph=...)" in record["reason"]
    assert rig.ledger.payments == []


async def test_what_fits_no_graph_is_waited_for(rig: Rig) -> None:
    """A worker that has other graphs leaves the thread to one that has its own."""
    gate = without_a_name(asks(rig))
    [pause_id] = await rig.hibernate(agent_with(gate, rig.ledger.pay, "sign_off"), "t")
    others = {name: agent_with(gate, never, name) for name in ("a", "b")}
    receiver = await rig.receiver(others)
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    record = await until_looked_at(rig, pause_id)
    assert record["reason_code"] == "no_graph"
    assert "'a' and 'b' cannot be meant: the thread has been in sign_off" in record["reason"]


FILED = """
from tests.integration.test_which_graph import agent_with, never, FILED_GATES

def {name}():
    gate, pay = FILED_GATES[{name!r}]
    return agent_with(gate, pay, {name!r})
"""
FILED_GATES: dict[str, tuple[Any, Any]] = {}


@pytest.fixture
def two_in_a_file(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A langgraph.json with two graphs, each with a gate in a node of its name."""
    monkeypatch.setitem(sys.modules, "tests.integration.test_which_graph", sys.modules[__name__])
    gate = agents.gate(rig.client(), agent_id="procurement")
    FILED_GATES.update(sign_off=(gate, rig.ledger.pay), review=(gate, never))
    for name in FILED_GATES:
        (tmp_path / f"{name}.py").write_text(FILED.format(name=name))
    graphs = {name: f"./{name}.py:{name}" for name in FILED_GATES}
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))
    yield file
    FILED_GATES.clear()


async def test_graphs_of_a_file_need_no_agents_ids(rig: Rig, two_in_a_file: Path) -> None:
    """Its names are graph ids: an agent none is called after is told by the nodes of its thread."""
    mine = agent_with(*FILED_GATES["sign_off"], "sign_off")
    [pause_id] = await rig.hibernate(mine, "t")
    receiver = await rig.receiver(str(two_in_a_file))
    assert sorted(receiver.graphs.registered) == ["review", "sign_off"]
    await rig.deliver(receiver, rig.looppause.decide(pause_id, "approved"))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_the_dashboard_shows_the_same_graph(rig: Rig) -> None:
    """What a page draws is what would be run; where that is not clear, it says so."""
    gate = without_a_name(asks(rig))
    mine, other = (agent_with(gate, never, node) for node in ("sign_off", "review"))
    [pause_id] = await rig.hibernate(mine, "t")
    async with open_pool(rig.url, size=2, name="views") as pool:
        graphs = Graphs({"a": other, "b": mine})
        seen = await ThreadViews(pool, graphs).look(pause_id, None, "t")
        assert seen.graph is not None
        assert seen.graph.gates == {"sign_off"}
        same = Graphs({"a": mine, "b": copy.copy(mine)})
        unclear = await ThreadViews(pool, same).look(pause_id, None, "t")
        assert unclear.graph is None
        assert "could be of 'a' and 'b'" in unclear.problem
        [named] = await rig.hibernate(rig.agent(graph="b", **OTHER_AGENT), "u")
        seen = await ThreadViews(pool, Graphs({"b": rig.agent()})).look(named, "somebody-else", "u")
        assert seen.graph is not None
        nobodys = await ThreadViews(pool, Graphs({})).look(named, "somebody-else", "u")
        assert nobodys.graph is None
