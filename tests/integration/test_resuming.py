"""From a delivered proof to a resumed thread, over real PostgreSQL and real graphs."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from langgraph.constants import TAG_HIDDEN
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from looppause_sdk.langgraph import route_on_gate
from looppause_sdk.testing import FakeLoopPause
from resumer.threads import Threads
from tests import agents
from tests.agents import State
from tests.integration.conftest import Rig, until


async def test_an_approved_payment_is_paid_once(rig: Rig) -> None:
    """The approval resumes the thread, the payment is made, the outcome is stored."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id, responder="ada@example.com", comment="fine")

    assert (await rig.deliver(resumer, proof)).status_code == 202
    record = await rig.until_state(pause_id, "resumed")

    [paid] = rig.ledger.payments
    assert (paid["pause_id"], paid["responder"], paid["comment"]) == (
        pause_id,
        "ada@example.com",
        "fine",
    )
    assert (record["outcome"], record["thread_id"], record["next_pauses"]) == ("resumed", "t1", [])
    assert (await rig.state(rig.agent(), "t1")).next == ()


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_durability_and_scheme(database_url: str, durability: str, scheme: Any) -> None:
    """The thread resumes however its checkpoints were written and its proof was signed."""
    rig = Rig(database_url, FakeLoopPause(scheme=scheme))
    async with rig.stack:
        resumer = await rig.receiver()
        [pause_id] = await rig.hibernate(rig.agent(), "t1", durability=durability)
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        await rig.until_state(pause_id, "resumed")
        assert len(rig.ledger.payments) == 1


def _rejected(looppause: FakeLoopPause, pause_id: str) -> dict[str, Any]:
    return looppause.decide(pause_id, "rejected", comment="too much")


def _fallback(looppause: FakeLoopPause, pause_id: str) -> dict[str, Any]:
    return looppause.decide(pause_id, authorization_type="system_fallback")


def _expired(looppause: FakeLoopPause, pause_id: str) -> dict[str, Any]:
    return looppause.expire(pause_id)


def _timed_out(looppause: FakeLoopPause, pause_id: str) -> dict[str, Any]:
    return looppause.time_out(pause_id)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_rejected, "rejected"),
        (_fallback, "system_fallback"),
        (_expired, "expired"),
        (_timed_out, "timed_out"),
    ],
)
async def test_what_is_no_human_approval_ends_the_thread_without_paying(
    rig: Rig, answer: Any, reason: str
) -> None:
    """A genuine denial resumes the thread, and the gate stays shut."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")

    await rig.deliver(resumer, answer(rig.looppause, pause_id))
    await rig.until_state(pause_id, "resumed")

    state = await rig.state(rig.agent(), "t1")
    assert rig.ledger.payments == []
    assert state.next == ()
    assert (state.values["looppause"]["approved"], state.values["looppause"]["halt_reason"]) == (
        False,
        reason,
    )


async def test_form_fields_reach_the_node_after_the_gate(rig: Rig) -> None:
    """What the person typed into the form is in the gate's result."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    fields = {"cost_centre": "4711", "urgent": True, "share": 0.1, "größe": [1, 2]}
    await rig.deliver(resumer, rig.looppause.decide(pause_id, fields=fields))
    await rig.until_state(pause_id, "resumed")
    assert rig.ledger.payments[0]["fields"] == fields


async def test_twenty_copies_at_once_resume_once(rig: Rig) -> None:
    """One copy is accepted, the others are duplicates, the payment is made once."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)

    replies = await asyncio.gather(*(rig.deliver(resumer, proof) for _ in range(20)))

    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [202]
    record = await rig.until_state(pause_id, "resumed")
    assert record["deliveries"] == 20
    assert len(rig.ledger.payments) == 1


async def test_a_copy_after_the_end_does_nothing(rig: Rig) -> None:
    """A proof delivered again after its thread has finished changes nothing."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)
    await rig.deliver(resumer, proof)
    await rig.until_state(pause_id, "resumed")

    assert (await rig.deliver(resumer, proof)).json()["status"] == "duplicate"
    await asyncio.sleep(0.3)
    assert len(rig.ledger.payments) == 1


async def test_a_second_opinion_is_kept_aside(rig: Rig) -> None:
    """Another genuine proof that says something else is a conflict: the first decision stands."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    rejected = rig.looppause.decide(pause_id, "rejected")
    approved = rig.looppause.sign({**_unsigned(rejected), "decision": "approved"})
    await rig.deliver(resumer, rejected)

    assert (await rig.deliver(resumer, approved)).json()["status"] == "conflict"
    await rig.until_state(pause_id, "resumed")
    [kept] = await rig.rows("select * from conflicts")
    assert (kept["pause_id"], kept["decision"]) == (pause_id, "approved")
    assert rig.ledger.payments == []


def _unsigned(proof: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in proof.items() if key != "signature"}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_an_early_proof_waits_for_its_thread(rig: Rig, durability: str) -> None:
    """A proof that overtakes the hibernation is resumed soon after it."""
    resumer = await rig.receiver()
    asked: asyncio.Queue[str] = asyncio.Queue()

    def slow_after_asking(state: Any) -> dict[str, Any]:
        return agents.action_of(state)

    graph = rig.agent(action_builder=slow_after_asking)
    client = rig.client()
    real_open, loop = client.open_pause, asyncio.get_running_loop()

    def open_and_be_late(**request: Any) -> Any:
        pause = real_open(**request)
        loop.call_soon_threadsafe(asked.put_nowait, pause.pause_id)
        import time

        time.sleep(0.7)
        return pause

    client.open_pause = open_and_be_late
    graph = agents.payment_agent(client, rig.ledger.pay)
    run = asyncio.create_task(rig.hibernate(graph, "t1", durability=durability))
    pause_id = await asked.get()
    assert (await rig.deliver(resumer, rig.looppause.decide(pause_id))).status_code == 202
    await run

    await rig.until_state(pause_id, "resumed", seconds=5)
    assert len(rig.ledger.payments) == 1


async def test_a_pause_no_thread_asks_is_never_invoked_and_parks(rig: Rig) -> None:
    """Past its time, a proof without a thread is parked with a reason; no thread is started."""
    resumer = await rig.receiver(early_hours=0.5 / 3600)
    proof = rig.looppause.sign(
        {
            "pause_id": "pause_of_nobody",
            "status": "responded",
            "decision": "approved",
            "authorization_type": "human",
            "human_response": True,
            "responder": "ada",
            "responded_at": "2026-11-22T10:00:00Z",
        }
    )
    assert (await rig.deliver(resumer, proof)).status_code == 202
    record = await rig.until_state("pause_of_nobody", "parked")
    assert (record["reason_code"], record["attempts"]) == ("early", 0)
    assert "no thread ever asked this" in record["reason"]
    assert await rig.rows("select * from public.checkpoints") == []


def _two_gates(rig: Rig) -> Any:
    builder = StateGraph(State)
    builder.add_node("first", agents.gate(rig.client()))
    builder.add_node("second", agents.gate(rig.client(), state_key="second"))
    builder.add_node("pay", rig.ledger.pay)
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", route_on_gate(), {"approved": "second", "halt": END})
    builder.add_conditional_edges(
        "second", route_on_gate("second"), {"approved": "pay", "halt": END}
    )
    builder.add_edge("pay", END)
    return builder.compile()


async def test_two_gates_in_a_row_need_two_answers(rig: Rig) -> None:
    """The answer to the first gate, delivered thrice, never opens the second."""
    graph = _two_gates(rig)
    resumer = await rig.receiver({"procurement": graph})
    [first] = await rig.hibernate(graph, "t1")
    proof = rig.looppause.decide(first)
    for _ in range(3):
        await rig.deliver(resumer, proof)
    record = await rig.until_state(first, "resumed")
    [second] = record["next_pauses"]
    assert second != first
    assert rig.ledger.payments == []

    await rig.deliver(resumer, rig.looppause.decide(second))
    await rig.until_state(second, "resumed")
    assert len(rig.ledger.payments) == 1


@pytest.mark.parametrize(("tags", "most"), [([], 3), ([TAG_HIDDEN], 4)], ids=["plain", "hidden"])
async def test_a_thread_is_looked_at_again_only_if_it_may_ask_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tags: list[str], most: int
) -> None:
    """What a run that ends at no gate has stored is known without reading it back.

    Of a graph that is hidden from traces LangGraph does not tell whether it asks.
    """
    looks: list[str] = []
    inspect = Threads.inspect

    async def counted(threads: Threads, graph: Any, thread_id: str) -> Any:
        looks.append(thread_id)
        return await inspect(threads, graph, thread_id)

    monkeypatch.setattr(Threads, "inspect", counted)
    graph = _two_gates(rig).with_config(tags=tags)
    resumer = await rig.receiver({"procurement": graph})
    [first] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(first))
    [second] = (await rig.until_state(first, "resumed"))["next_pauses"]
    assert len(looks) == 2
    await rig.deliver(resumer, rig.looppause.decide(second))
    await rig.until_state(second, "resumed")
    assert len(looks) == most


def _parallel_gates(rig: Rig, slow: Any = None) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", agents.gate(rig.client()))
    builder.add_node("b", agents.gate(rig.client(), state_key="second"))
    builder.add_node("pay", rig.ledger.pay)
    for name in ("a", "b"):
        builder.add_edge(START, name)
    joined = ["a", "b"]
    if slow is not None:
        builder.add_node("slow", slow)
        builder.add_edge(START, "slow")
        joined.append("slow")
    builder.add_edge(joined, "pay")
    builder.add_edge("pay", END)
    return builder.compile()


async def test_parallel_gates_approved_at_once_both_open(rig: Rig) -> None:
    """Two answers for one thread in the same moment: both resume, the thread finishes once."""
    graph = _parallel_gates(rig)
    resumer = await rig.receiver({"procurement": graph})
    pauses = await rig.hibernate(graph, "t1")
    assert len(set(pauses)) == 2
    proofs = [rig.looppause.decide(pause_id) for pause_id in pauses]
    await asyncio.gather(*(rig.deliver(resumer, proof) for proof in proofs))

    for pause_id in pauses:
        await rig.until_state(pause_id, "resumed")
    state = await rig.state(graph, "t1")
    assert (state.next, len(rig.ledger.payments)) == ((), 1)


def _slow(runs: list[str], *, seconds: float, then: float | None = None) -> Any:
    """A node that notes its runs; the first takes `seconds`, later ones `then` if that is given."""

    async def slow(state: State) -> dict[str, Any]:
        runs.append("slow")
        await asyncio.sleep(seconds if len(runs) == 1 or then is None else then)
        return {"done": ["slow"]}

    return slow


async def test_a_running_sibling_is_not_run_twice(rig: Rig) -> None:
    """An answer waits until the branch beside the gate is done in the agent's own process."""
    runs: list[str] = []
    slow = _slow(runs, seconds=1.0)
    graph = _parallel_gates(rig, slow)
    resumer = await rig.receiver({"procurement": graph}, settle_seconds=60.0)
    run = asyncio.create_task(rig.hibernate(graph, "t1", durability="sync"))
    pauses = await until(lambda: _asked(rig, 2))
    for pause_id in pauses:
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await until(lambda: _with_reason(rig, pauses[0], "unsettled"))
    assert "slow" in record["reason"]
    await run
    for pause_id in pauses:
        await rig.until_state(pause_id, "resumed")
    assert (runs, len(rig.ledger.payments)) == (["slow"], 1)


async def _asked(rig: Rig, count: int) -> list[str] | None:
    pauses = [document["pause_id"] for document in rig.looppause.documents()]
    return pauses if len(pauses) == count else None


async def _with_reason(rig: Rig, pause_id: str, code: str) -> Any:
    record = await rig.pause(pause_id)
    return record if record and record["reason_code"] == code else None


async def test_a_dead_sibling_holds_the_answer_for_the_grace_period_only(rig: Rig) -> None:
    """A branch whose process died unfinished runs again with the resume, after the grace."""
    runs: list[str] = []
    slow = _slow(runs, seconds=60, then=0)
    graph = _parallel_gates(rig, slow)
    run = asyncio.create_task(rig.hibernate(graph, "t1", durability="sync"))
    pauses = await until(lambda: _asked(rig, 2))
    await until(lambda: _stored_interrupts(rig, 2))
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    resumer = await rig.receiver({"procurement": graph}, settle_seconds=1.0)
    for pause_id in pauses:
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
    for pause_id in pauses:
        await rig.until_state(pause_id, "resumed")
    assert (runs, len(rig.ledger.payments)) == (["slow"] * 2, 1)


async def _stored_interrupts(rig: Rig, count: int) -> bool:
    rows = await rig.rows("select 1 from public.checkpoint_writes where channel = '__interrupt__'")
    return len(rows) >= count


@pytest.mark.parametrize("checkpointer", [None, True])
async def test_a_gate_in_a_subgraph(rig: Rig, checkpointer: bool | None) -> None:
    """A gate inside a subgraph resumes through the root graph."""
    inner: Any = StateGraph(State)
    inner.add_node("gate", agents.gate(rig.client()))
    inner.add_edge(START, "gate")
    outer = StateGraph(State)
    outer.add_node("sub", inner.compile(checkpointer=checkpointer))
    outer.add_node("pay", rig.ledger.pay)
    outer.add_edge(START, "sub")
    outer.add_conditional_edges("sub", route_on_gate(), {"approved": "pay", "halt": END})
    graph = outer.compile()
    resumer = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")

    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


def _gate_and_sibling_in_a_subgraph(rig: Rig, slow: Any) -> Any:
    inner = StateGraph(State)
    inner.add_node("gate", agents.gate(rig.client()))
    inner.add_node("slow", slow)
    inner.add_edge(START, "gate")
    inner.add_edge(START, "slow")
    outer = StateGraph(State)
    outer.add_node("sub", inner.compile())
    outer.add_node("pay", rig.ledger.pay)
    outer.add_edge(START, "sub")
    outer.add_edge("sub", "pay")
    return outer.compile()


async def test_a_sibling_running_inside_a_subgraph_is_not_run_twice(rig: Rig) -> None:
    """The subgraph's interrupt is stored before the root knows of it: the answer waits."""
    runs: list[str] = []
    slow = _slow(runs, seconds=1.0)
    graph = _gate_and_sibling_in_a_subgraph(rig, slow)
    resumer = await rig.receiver({"procurement": graph}, settle_seconds=60.0)
    run = asyncio.create_task(rig.hibernate(graph, "t1", durability="sync"))
    [pause_id] = await until(lambda: _asked(rig, 1))
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await until(lambda: _with_reason(rig, pause_id, "unsettled"))
    await run
    await rig.until_state(pause_id, "resumed")
    assert (runs, len(rig.ledger.payments)) == (["slow"], 1)


async def test_a_process_that_died_inside_a_subgraph_is_taken_over(rig: Rig) -> None:
    """The root never learned of the subgraph's interrupt; after the grace it resumes all the same."""
    runs: list[str] = []
    slow = _slow(runs, seconds=60, then=0)
    graph = _gate_and_sibling_in_a_subgraph(rig, slow)
    run = asyncio.create_task(rig.hibernate(graph, "t1", durability="sync"))
    [pause_id] = await until(lambda: _asked(rig, 1))
    await until(lambda: _stored_interrupts(rig, 1))
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    resumer = await rig.receiver({"procurement": graph}, settle_seconds=1.0)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert (runs, len(rig.ledger.payments)) == (["slow"] * 2, 1)


async def test_somebody_else_has_resumed(rig: Rig) -> None:
    """A thread that another program resumed is left alone."""
    graph = rig.agent()
    [pause_id] = await rig.hibernate(graph, "t1")
    proof = rig.looppause.decide(pause_id)
    async with agents.hibernating(graph, rig.url) as attached:
        state = await attached.aget_state(agents.on("t1"))
        await attached.ainvoke(Command(resume={state.interrupts[0].id: proof}), agents.on("t1"))

    resumer = await rig.receiver()
    await rig.deliver(resumer, proof)
    record = await rig.until_state(pause_id, "resumed")
    assert (record["outcome"], len(rig.ledger.payments)) == ("already_resumed", 1)


async def test_somebody_elses_unfinished_run_is_not_continued(rig: Rig) -> None:
    """Work left by a run that was not ours stays theirs: continuing it could double it."""

    def pay_and_die(state: State) -> dict[str, Any]:
        rig.ledger.pay(state)
        raise RuntimeError("somebody else's trouble")

    theirs = agents.payment_agent(rig.client(), pay_and_die)
    [pause_id] = await rig.hibernate(theirs, "t1")
    proof = rig.looppause.decide(pause_id)
    async with agents.hibernating(theirs, rig.url) as attached:
        state = await attached.aget_state(agents.on("t1"))
        with pytest.raises(RuntimeError, match="somebody else"):
            await attached.ainvoke(Command(resume={state.interrupts[0].id: proof}), agents.on("t1"))

    resumer = await rig.receiver()
    await rig.deliver(resumer, proof)
    record = await rig.until_state(pause_id, "resumed")
    assert (record["outcome"], len(rig.ledger.payments)) == ("already_resumed", 1)


async def test_a_graph_that_raises_is_retried_where_it_stopped(rig: Rig) -> None:
    """The gate is not asked again; the node that raised runs again, then the thread finishes."""
    attempts: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("the bank is closed")
        return rig.ledger.pay(state)

    graph = agents.payment_agent(rig.client(), flaky)
    resumer = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "resumed")
    assert (len(attempts), record["attempts"], len(rig.ledger.payments)) == (3, 2, 1)
    assert len(rig.looppause.documents()) == 1


async def test_a_graph_that_always_raises_is_parked_and_can_be_reopened(rig: Rig) -> None:
    """After the retry policy the pause is parked with the error; reopened, it goes on."""
    broken = [True]

    def pay(state: State) -> dict[str, Any]:
        if broken:
            raise RuntimeError("the bank is gone")
        return rig.ledger.pay(state)

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert (record["reason_code"], record["attempts"]) == ("raised", 3)
    assert "the bank is gone" in record["reason"]
    assert "Traceback" in record["error"]

    broken.clear()
    assert await resumer.retry([pause_id]) == [pause_id]
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_an_unknown_agent_parks_without_touching_the_thread(rig: Rig) -> None:
    """A thread of an agent that nobody registered is not run with another agent's graph."""
    resumer = await rig.receiver({"somebody_else": rig.agent()})
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await until(lambda: _with_reason(rig, pause_id, "no_graph"))
    assert "procurement" in record["reason"]
    assert len((await rig.state(rig.agent(), "t1")).interrupts) == 1


async def test_a_node_that_is_gone_parks(rig: Rig) -> None:
    """A deployed graph without the node that hibernates is told apart from a finished thread."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    builder = StateGraph(State)
    builder.add_node("pay", rig.ledger.pay)
    builder.add_edge(START, "pay")
    resumer = await rig.receiver({"procurement": builder.compile()})
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert (record["reason_code"], rig.ledger.payments) == ("no_node", [])


async def test_a_gate_with_other_keys_refuses_and_stays_paused(rig: Rig) -> None:
    """The gate verifies again: where its keys differ nothing opens, and a person is told."""
    from looppause_sdk import LoopPauseClient

    stranger = LoopPauseClient("key", "another-secret", env={})
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    resumer = await rig.receiver({"procurement": agents.payment_agent(stranger, rig.ledger.pay)})
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert (record["reason_code"], rig.ledger.payments) == ("refused", [])
    assert len((await rig.state(rig.agent(), "t1")).interrupts) == 1


async def test_two_threads_that_share_a_pause_both_stay_shut(rig: Rig) -> None:
    """One approval must not open two gates (0.1.0's keys let equal actions share a pause)."""

    def ask(state: State) -> dict[str, Any]:
        return {"looppause": interrupt({"pause_id": "pause_shared", "action": {}})}

    builder = StateGraph(State)
    builder.add_node("gate", ask)
    builder.add_node("pay", rig.ledger.pay)
    builder.add_edge(START, "gate")
    builder.add_edge("gate", "pay")
    graph = builder.compile()
    resumer = await rig.receiver({"procurement": graph})
    for thread_id in ("t1", "t2"):
        await rig.hibernate(graph, thread_id)
    document = rig.looppause.create(
        {
            "agent_id": "procurement",
            "action": {"type": "x", "description": "x"},
            "recipients": agents.RECIPIENTS,
        }
    )
    proof = _unsigned(rig.looppause.decide(document["pause_id"]))
    await rig.deliver(resumer, rig.looppause.sign({**proof, "pause_id": "pause_shared"}))
    record = await rig.until_state("pause_shared", "parked")
    assert (record["reason_code"], rig.ledger.payments) == ("shared_pause", [])


async def test_a_fan_out_asks_and_resumes_each(rig: Rig) -> None:
    """Gates in a Send fan-out are answered one by one; the thread goes on after the last."""

    def fan(_state: State) -> list[Send]:
        return [Send("gate", {"amount": amount}) for amount in (1, 2, 3)]

    approved: list[int] = []

    def gate_and_note(state: Any) -> dict[str, Any]:
        result = agents.gate(rig.client())(state)["looppause"]
        approved.append(result["action"]["details"]["amount"])
        return {"done": [str(result["approved"])]}

    builder = StateGraph(State)
    builder.add_node("gate", gate_and_note)
    builder.add_node("end", lambda _state: {"done": ["end"]})
    builder.add_conditional_edges(START, fan, ["gate"])
    builder.add_edge("gate", "end")
    graph = builder.compile()
    resumer = await rig.receiver({"procurement": graph})
    pauses = await rig.hibernate(graph, "t1")
    assert len(set(pauses)) == 3
    for pause_id in pauses:
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
    for pause_id in pauses:
        await rig.until_state(pause_id, "resumed")
    state = await rig.state(graph, "t1")
    assert sorted(state.values["done"]) == ["True", "True", "True", "end"]
    assert sorted(approved) == [1, 2, 3]


async def test_the_runs_own_configuration_comes_back(rig: Rig) -> None:
    """Configurable values of the run that hibernated are there again when it is resumed."""
    from langchain_core.runnables import RunnableConfig

    tenants: list[Any] = []

    def pay(state: State, config: RunnableConfig) -> dict[str, Any]:
        tenants.append(config["configurable"].get("tenant"))
        return rig.ledger.pay(state)

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph})
    async with agents.hibernating(graph, rig.url) as attached:
        config = {"configurable": {"thread_id": "t1", "tenant": "acme"}}
        result = await attached.ainvoke({"amount": 1}, config)
    pause_id = result["__interrupt__"][0].value["pause_id"]
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert tenants == ["acme"]


async def test_the_users_graph_object_is_left_alone(rig: Rig) -> None:
    """Resuming attaches a saver to a copy."""
    graph = rig.agent()
    before = copy.copy(vars(graph))
    resumer = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert vars(graph)["checkpointer"] is before["checkpointer"] is None


async def test_a_number_only_its_signer_writes_like_that(rig: Rig) -> None:
    """A proof whose number notation parsing would lose still opens its gate."""
    import hashlib
    import hmac
    import json

    import httpx

    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    members = {
        "authorization_type": '"human"',
        "decision": '"approved"',
        "fields": '{"amount":1.50}',
        "human_response": "true",
        "pause_id": json.dumps(pause_id),
        "responded_at": '"2026-11-22T10:00:00Z"',
        "responder": '"ada"',
    }
    text = "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"
    digest = hmac.new(rig.looppause.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    body = text[:-1] + f',"signature":"{digest}"}}'
    transport = httpx.ASGITransport(resumer.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        headers = {"content-type": "application/json"}
        reply = await http.post("/webhooks/looppause", content=body, headers=headers)
    assert reply.status_code == 202
    await rig.until_state(pause_id, "resumed")
    assert rig.ledger.payments[0]["fields"] == {"amount": 1.5}
