"""Many gates at once, with fewer threads and slots than gates: none waits for another's place."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.config import get_config
from langgraph.graph import START, StateGraph
from langgraph.pregel._runner import FuturesDict
from langgraph.types import Command

from looppause_sdk import GateError, LoopPauseUnavailable
from looppause_sdk.client import Clock
from looppause_sdk.testing import FakeLoopPause
from tests.agents import State, action_of, client_of, gate, on
from tests.fan_out import fan_out
from tests.gates import (
    agent,
    asked,
    async_client_of,
    cut_off,
    one_node,
    over,
    polling,
    requests_since,
)

MANY = 64
CLIENTS = {"sync": client_of, "async": async_client_of}

# A deadlock leaves threads that no signal reaches: end the process, and say where they stand.
pytestmark = pytest.mark.timeout(40, method="thread")


def few_threads() -> None:
    """Leave this event loop an executor of two threads."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))


def called(node: Any) -> Any:
    """A node of the user's own that calls the gate."""

    def own(state: Any) -> Any:
        return node(state)

    return own


def answers(graph: Any, looppause: FakeLoopPause, thread_id: str = "t") -> Command[Any]:
    """Approve whatever the thread waits for."""
    waiting = graph.get_state(on(thread_id)).interrupts
    return Command(resume={one.id: looppause.decide(one.value["pause_id"]) for one in waiting})


def by_invoke(graph: Any, given: Any, config: Any) -> Any:
    """Run the graph without an event loop."""
    return graph.invoke(given, config)


def by_ainvoke(graph: Any, given: Any, config: Any) -> Any:
    """Run the graph in an event loop that has two threads."""

    async def run() -> Any:
        few_threads()
        return await graph.ainvoke(given, config)

    return asyncio.run(run())


# -- hibernating -------------------------------------------------------------------------------


def test_a_list_of_tasks_that_grows_while_it_is_read_stops_no_gate(
    looppause: FakeLoopPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangGraph reads it in the threads of `invoke` without a lock; seen once in many runs."""
    items = FuturesDict.items

    def grown(futures: Any) -> Any:
        if sys._getframe(1).f_code.co_name == "_call":
            raise RuntimeError("dictionary changed size during iteration")
        return items(futures)

    monkeypatch.setattr(FuturesDict, "items", grown)
    graph = fan_out(gate(client_of(looppause)), list(range(4)), InMemorySaver())
    by_invoke(graph, {}, on("t"))
    assert len(set(asked(graph))) == 4
    by_invoke(graph, answers(graph, looppause), on("t"))
    assert graph.get_state(on("t")).next == ()


@pytest.mark.parametrize("limits", [{}, {"max_concurrency": 2}], ids=["unlimited", "slots"])
@pytest.mark.parametrize(
    ("run", "client", "form"),
    [
        (by_invoke, client_of, lambda node: node),
        (by_invoke, client_of, called),
        (by_ainvoke, client_of, lambda node: node),
        (by_ainvoke, client_of, called),
        (by_ainvoke, async_client_of, lambda node: node),
    ],
    ids=["invoke", "invoke-called", "ainvoke", "ainvoke-called", "ainvoke-async"],
)
def test_a_wide_fan_out_hibernates_and_resumes(
    looppause: FakeLoopPause,
    run: Callable[..., Any],
    client: Callable[..., Any],
    form: Callable[[Any], Any],
    limits: dict[str, Any],
) -> None:
    """Each branch asks once, and needs no network to go on, however few places there are."""
    # A thread cannot see whether the event loop has a slot for its task: it waits half a second.
    branches = 16 if form is called and run is by_ainvoke and limits else MANY
    graph = fan_out(form(gate(client(looppause))), list(range(branches)), InMemorySaver())
    run(graph, {}, {**on("t"), **limits})
    approvals = answers(graph, looppause)
    cut_off(looppause)
    state = run(graph, approvals, {**on("t"), **limits})
    assert [result["approved"] for result in state["looppause"]] == [True] * branches
    assert {result["pause_id"] for result in state["looppause"]} == set(looppause.pauses)
    assert (len(looppause.pauses), requests_since(looppause)) == (branches, 0)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
async def test_many_threads_hibernate_and_resume_at_once(
    looppause: FakeLoopPause, database_url: str, client: Callable[..., Any]
) -> None:
    """Sixty-four agents in one event loop with two threads, over a real saver."""
    few_threads()
    threads = [on(f"t{number}") for number in range(MANY)]
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        graph = agent(looppause, saver, client=client(looppause))
        await asyncio.gather(*(graph.ainvoke({"amount": 5}, thread) for thread in threads))
        waiting = [(await graph.aget_state(thread)).interrupts[0] for thread in threads]
        proofs = [looppause.decide(one.value["pause_id"]) for one in waiting]
        cut_off(looppause)
        states = await asyncio.gather(
            *(
                graph.ainvoke(Command(resume={one.id: proof}), thread)
                for one, proof, thread in zip(waiting, proofs, threads, strict=True)
            )
        )
    assert [state["done"] for state in states] == [["paid"]] * MANY
    assert (len(looppause.pauses), requests_since(looppause)) == (MANY, 0)


@pytest.mark.parametrize("first", ["invoke", "ainvoke"])
@pytest.mark.parametrize("form", [lambda node: node, called], ids=["gate", "called"])
async def test_the_other_form_finds_the_pause(
    looppause: FakeLoopPause, database_url: str, first: str, form: Callable[[Any], Any]
) -> None:
    """Hibernated under `invoke` and resumed under `ainvoke`, or the reverse: nobody asks again."""
    graph = one_node(form(gate(client_of(looppause))))
    with PostgresSaver.from_conn_string(database_url) as saver:
        sync_graph = over(graph, saver)
        async with AsyncPostgresSaver.from_conn_string(database_url) as asaver:
            async_graph = over(graph, asaver)

            async def run(form: str, given: Any) -> Any:
                if form == "ainvoke":
                    return await async_graph.ainvoke(given, on("t"))
                return await asyncio.to_thread(sync_graph.invoke, given, on("t"))

            await run(first, {"amount": 5})
            approval = await asyncio.to_thread(answers, sync_graph, looppause)
            cut_off(looppause)
            state = await run("invoke" if first == "ainvoke" else "ainvoke", approval)
    assert state["looppause"]["approved"] is True
    assert (len(looppause.pauses), requests_since(looppause)) == (1, 0)


# LangGraph's own: a run that fails drops the nodes that still wait for a slot.
@pytest.mark.filterwarnings("ignore:coroutine 'arun_with_retry' was never awaited")
@pytest.mark.parametrize("run", [by_invoke, by_ainvoke], ids=["invoke", "ainvoke"])
def test_an_outage_is_raised_where_places_are_few(
    looppause: FakeLoopPause, run: Callable[..., Any]
) -> None:
    """The gates that asked by themselves fail as any other does, and ask when run again."""
    client = client_of(looppause, max_attempts=1)
    graph = fan_out(gate(client), list(range(8)), InMemorySaver())
    looppause.fail_next(times=1000)
    with pytest.raises(LoopPauseUnavailable):
        run(graph, {}, {**on("t"), "max_concurrency": 2})
    looppause.faults.clear()
    run(graph, None, {**on("t"), "max_concurrency": 2})
    assert sorted(asked(graph)) == sorted(looppause.pauses)
    assert len(looppause.pauses) == 8


# -- under ainvoke -----------------------------------------------------------------------------


async def test_an_action_builder_that_blocks_stops_nobody(looppause: FakeLoopPause) -> None:
    """It waits in a thread for what the event loop does meanwhile, and sees the run's config."""
    ready = threading.Event()
    seen = []

    def slow(state: State) -> dict[str, Any]:
        seen.append((ready.wait(5), get_config()["configurable"]["thread_id"]))
        return action_of(state)

    graph = agent(looppause, InMemorySaver(), action_builder=slow)
    run = asyncio.create_task(graph.ainvoke({"amount": 5}, on("t")))
    await asyncio.sleep(0.05)
    ready.set()
    await run
    assert seen == [(True, "t")]
    assert asked(graph) == list(looppause.pauses)


async def test_two_calls_in_one_node_are_two_questions(looppause: FakeLoopPause) -> None:
    """A node of the user's own, run in a thread, finds each memo in its place."""
    first, second = gate(client_of(looppause)), gate(client_of(looppause))

    def both(state: State) -> Any:
        return {"looppause": first(state)["looppause"], "second": second(state)["looppause"]}

    graph = one_node(both, InMemorySaver())
    await graph.ainvoke({"amount": 5}, on("t"))
    await graph.ainvoke(answers(graph, looppause), on("t"))
    last = answers(graph, looppause)
    cut_off(looppause)
    state = await graph.ainvoke(last, on("t"))
    pauses = [state[key]["pause_id"] for key in ("looppause", "second")]
    assert (pauses, requests_since(looppause)) == (list(looppause.pauses), 0)


async def test_a_blocking_gate_called_in_a_coroutine_is_refused(looppause: FakeLoopPause) -> None:
    """It would hold up the event loop: the error says what to do, and nobody is asked."""
    node = gate(client_of(looppause))

    async def own(state: State) -> Any:
        return node(state)

    with pytest.raises(GateError, match="AsyncLoopPauseClient"):
        await one_node(own, InMemorySaver()).ainvoke({"amount": 5}, on("t"))
    assert not looppause.pauses


async def test_a_stream_shows_the_gate_by_its_names(looppause: FakeLoopPause) -> None:
    """The node has the name it was added by, or its own; the task is called `looppause_ask`."""
    builder: Any = StateGraph(State)
    builder.add_node(gate(client_of(looppause)))
    builder.add_edge(START, "looppause_gate")
    graph = builder.compile(checkpointer=InMemorySaver())
    stream = graph.astream({"amount": 5}, on("t"), stream_mode="updates")
    assert [name async for update in stream for name in update] == [
        "looppause_ask",
        "__interrupt__",
    ]
    stream = graph.astream(answers(graph, looppause), on("t"), stream_mode="updates")
    assert [name async for update in stream for name in update][-1] == "looppause_gate"


# -- waiting in place --------------------------------------------------------------------------


def often(looppause: FakeLoopPause) -> Any:
    """A client that looks every few milliseconds."""
    return client_of(looppause, clock=Clock(sleep=lambda _: time.sleep(0.02)))


async def test_forty_polling_gates_leave_the_agent_its_threads(looppause: FakeLoopPause) -> None:
    """All are asked before any is answered, and sync nodes run while they wait."""
    few_threads()
    graph = one_node(polling(often(looppause)))
    runs = [asyncio.create_task(graph.ainvoke({"amount": amount})) for amount in range(40)]
    async with asyncio.timeout(20):
        while len(looppause.pauses) < 40:
            await asyncio.sleep(0.01)
        assert await one_node(lambda _: {"amount": 1}).ainvoke({}) == {"amount": 1, "done": []}
    for pause_id in list(looppause.pauses):
        looppause.decide(pause_id)
    states = await asyncio.gather(*runs)
    assert [state["looppause"]["action"] for state in states] == [
        action_of({"amount": amount}) for amount in range(40)
    ]


def test_a_cancelled_wait_does_not_hold_up_the_process(looppause: FakeLoopPause) -> None:
    """The event loop closes at once, though the person has until tomorrow."""
    graph = one_node(polling(often(looppause)))

    async def run() -> None:
        await asyncio.wait_for(graph.ainvoke({"amount": 5}), timeout=0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert len(looppause.pauses) == 1
    [waiting] = [one for one in threading.enumerate() if one.name == "looppause-wait"]
    assert waiting.daemon
    looppause.decide(*looppause.pauses)
    waiting.join(5)
    assert not waiting.is_alive()


async def test_two_polling_gates_in_one_coroutine_are_two_questions(
    looppause: FakeLoopPause,
) -> None:
    """Awaited one after the other by a node of the user's own, for equal actions."""
    node: Any = polling(often(looppause))

    def approve(document: dict[str, Any]) -> None:
        if document["status"] == "pending":
            looppause.decide(document["pause_id"])

    looppause.listeners.append(approve)

    async def both(state: State) -> Any:
        results = [await node.ainvoke(state) for _ in range(2)]
        return {"looppause": results[0]["looppause"], "second": results[1]["looppause"]}

    state = await one_node(both).ainvoke({"amount": 5})
    assert state["looppause"]["pause_id"] != state["second"]["pause_id"]
