"""What LangGraph does where the receiver's rules are not kept: the harm each rule is there for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from tests import agents
from tests.agents import State
from tests.integration.conftest import Rig, until


def _plain_gate(state: State) -> dict[str, Any]:
    return {"looppause": {"approved": bool(interrupt({"pause_id": "pause_1"}))}}


def _second_gate(state: State) -> dict[str, Any]:
    return {"second": {"approved": bool(interrupt({"pause_id": "pause_2"}))}}


def _chain(*nodes: tuple[str, Any]) -> Any:
    builder: Any = StateGraph(State)
    previous = START
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(previous, name)
        previous = name
    builder.add_edge(previous, END)
    return builder.compile()


async def test_a_resume_of_a_thread_that_is_not_there_starts_a_run(rig: Rig) -> None:
    """Rule: never invoke an unknown thread. Else the agent runs from its start, for nobody."""
    ran: list[str] = []

    def first(state: State) -> dict[str, Any]:
        ran.append("first")
        return {}

    graph = _chain(("first", first), ("gate", _plain_gate))
    async with agents.hibernating(graph, rig.url) as attached:
        await attached.ainvoke(Command(resume={"0" * 32: "yes"}), agents.on("nobody"))
    assert ran == ["first"]


async def test_two_resumes_at_once_act_twice(rig: Rig) -> None:
    """Rule: the thread lock. Else two workers with one proof both do what was approved once."""

    async def pay(state: State) -> dict[str, Any]:
        rig.ledger.payments.append({})
        await asyncio.sleep(0.2)
        return {}

    graph = _chain(("gate", _plain_gate), ("pay", pay))
    await rig.hibernate(graph, "t1")
    [found] = (await rig.state(graph, "t1")).interrupts

    async def resume() -> None:
        async with agents.hibernating(graph, rig.url) as attached:
            await attached.ainvoke(Command(resume={found.id: "yes"}), agents.on("t1"))

    await asyncio.gather(resume(), resume())
    assert len(rig.ledger.payments) == 2


async def test_a_resume_beside_a_running_sibling_runs_it_twice(rig: Rig) -> None:
    """Rule: wait until the superstep is settled."""
    runs: list[str] = []

    async def slow(state: State) -> dict[str, Any]:
        runs.append("slow")
        await asyncio.sleep(0.5)
        return {"done": ["slow"]}

    builder: Any = StateGraph(State)
    builder.add_node("gate", _plain_gate)
    builder.add_node("slow", slow)
    builder.add_edge(START, "gate")
    builder.add_edge(START, "slow")
    graph = builder.compile()
    run = asyncio.create_task(rig.hibernate(graph, "t1", durability="sync"))
    found = await until(lambda: _pending(rig, graph))
    async with agents.hibernating(graph, rig.url) as attached:
        await attached.ainvoke(Command(resume={found.id: "yes"}), agents.on("t1"))
    await run
    assert runs == ["slow", "slow"]


async def _pending(rig: Rig, graph: Any) -> Any:
    interrupts = (await rig.state(graph, "t1")).interrupts
    return interrupts[0] if interrupts else None


async def test_a_bare_value_sent_twice_answers_the_next_gate(rig: Rig) -> None:
    """Rule: always the id map. Else a copy of the first proof approves the second question."""
    graph = _chain(("one", _plain_gate), ("two", _second_gate), ("pay", rig.ledger.pay))
    await rig.hibernate(graph, "t1")
    async with agents.hibernating(graph, rig.url) as attached:
        for _ in range(2):
            await attached.ainvoke(Command(resume="yes"), agents.on("t1"))
    assert len(rig.ledger.payments) == 1


async def test_continuing_somebody_elses_run_acts_twice(rig: Rig) -> None:
    """Rule: never continue what we did not start. Else their running node runs again, beside it."""

    async def pay(state: State) -> dict[str, Any]:
        rig.ledger.payments.append({})
        await asyncio.sleep(0.5)
        return {}

    graph = _chain(("gate", _plain_gate), ("pay", pay))
    await rig.hibernate(graph, "t1")
    [found] = (await rig.state(graph, "t1")).interrupts

    async def theirs() -> None:
        async with agents.hibernating(graph, rig.url) as attached:
            command: Command[Any] = Command(resume={found.id: "yes"})
            await attached.ainvoke(command, agents.on("t1"), durability="sync")

    run = asyncio.create_task(theirs())
    await until(lambda: _paying(rig))
    async with agents.hibernating(graph, rig.url) as attached:
        await attached.ainvoke(None, agents.on("t1"))
    await run
    assert len(rig.ledger.payments) == 2


async def _paying(rig: Rig) -> bool:
    return bool(rig.ledger.payments)


async def test_a_forged_answer_without_a_verifying_schema_poisons_the_thread(rig: Rig) -> None:
    """Rule of the gate: `response_schema`. Else a forged scalar is stored, and stays the answer."""

    def gate(state: State) -> dict[str, Any]:
        if interrupt({"pause_id": "pause_1"}) != "genuine":
            raise ValueError("forged")
        return {}

    graph = _chain(("gate", gate), ("pay", rig.ledger.pay))
    await rig.hibernate(graph, "t1")
    async with agents.hibernating(graph, rig.url) as attached:
        for answer in ("forged", "genuine"):
            with pytest.raises(ValueError, match="forged"):
                await attached.ainvoke(Command(resume=answer), agents.on("t1"))
