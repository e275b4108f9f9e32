"""The receiver resumes flows as it resumes threads: real flows, real PostgreSQL, one process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from crewai.flow import Flow, HumanFeedbackResult

from looppause_sdk import GateError
from looppause_sdk.crewai.flows import PostgresFlowPersistence, aresume_flow
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.db import open_pool
from resumer.errors import GraphNotLoaded
from resumer.flows import FlowPauses, Flows
from tests.agents import client_of
from tests.integration.conftest import Rig, Sweeping, rig, sweeping, until
from tests.refunds import Done, Refund, kickoff, looping, paying, refunding, two_gates

__all__ = ["rig", "sweeping"]  # the fixtures of the receiver's own tests

QUICK = {"retry_delays": (0.1, 0.1)}


@pytest.fixture
def done() -> Done:
    return Done()


@pytest.fixture
def refunds(rig: Rig, done: Done) -> type[Flow[Refund]]:
    """The usual flow, over the rig's LoopPause."""
    return refunding(rig.client(), done.act)


async def _receiver(rig: Rig, flow: Any, **settings: Any) -> Resumer:
    return await rig.receiver({}, flows={"refunds": flow}, **{**QUICK, **settings})


async def _retry(rig: Rig, resumer: Resumer, pause_id: str) -> None:
    """Take the pause up again, once the job that parked it has ended."""

    async def idle() -> bool:
        return not await rig.rows("select 1 from procrastinate_jobs where lock = %s", pause_id)

    await until(idle)
    assert await resumer.retry([pause_id]) == [pause_id]


async def test_an_approved_flow_pays_once(rig: Rig, done: Done, refunds: Any) -> None:
    """The approval lets the flow go on, the payment is made, the outcome is stored."""
    resumer = await _receiver(rig, refunds)
    pause_id = await kickoff(refunds, rig.url, id="refund-1")
    proof = rig.looppause.decide(pause_id, responder="ada", comment="fine")

    assert (await rig.deliver(resumer, proof)).status_code == 202
    record = await rig.until_state(pause_id, "resumed")

    assert done.names == ["pay"]
    assert (done.last["responder"], done.last["comment"]) == ("ada", "fine")
    assert (record["outcome"], record["thread_id"], record["agent_id"], record["next_pauses"]) == (
        "resumed",
        "refund-1",
        "refunds",
        [],
    )


async def test_three_copies_at_once_pay_once(rig: Rig, done: Done, refunds: Any) -> None:
    """Delivered to two receivers at the same time, and once more after the end."""
    resumers = [await _receiver(rig, refunds) for _ in range(2)]
    pause_id = await kickoff(refunds, rig.url)
    proof = rig.looppause.decide(pause_id)
    replies = await asyncio.gather(
        *(rig.deliver(resumers[number % 2], proof) for number in range(3))
    )
    assert sorted(reply.status_code for reply in replies) == [200, 200, 202]
    await rig.until_state(pause_id, "resumed")
    assert (await rig.deliver(resumers[0], proof)).json()["status"] == "duplicate"
    await asyncio.sleep(0.2)
    assert done.names == ["pay"]


async def test_a_forged_proof_is_not_let_in(rig: Rig, done: Done, refunds: Any) -> None:
    """It is answered 401, and the flow waits on."""
    resumer = await _receiver(rig, refunds)
    genuine = rig.looppause.decide(await kickoff(refunds, rig.url), "rejected")
    assert (await rig.deliver(resumer, {**genuine, "decision": "approved"})).status_code == 401
    await rig.deliver(resumer, genuine)
    await rig.until_state(genuine["pause_id"], "resumed")
    assert done.names == ["refuse"]


@pytest.mark.parametrize(
    "answer, reason",
    [
        (lambda fake, pause: fake.decide(pause, "rejected", comment="approved"), "rejected"),
        (
            lambda fake, pause: fake.decide(pause, authorization_type="system_fallback"),
            "system_fallback",
        ),
        (lambda fake, pause: fake.expire(pause), "expired"),
    ],
)
async def test_a_denial_leads_to_the_other_outcome(
    rig: Rig, done: Done, refunds: Any, answer: Any, reason: str
) -> None:
    """The flow goes on, and does not pay."""
    resumer = await _receiver(rig, refunds)
    pause_id = await kickoff(refunds, rig.url)
    await rig.deliver(resumer, answer(rig.looppause, pause_id))
    await rig.until_state(pause_id, "resumed")
    assert (done.names, done.last["halt_reason"]) == (["refuse"], reason)


async def test_a_webhook_before_the_save_waits_for_it(rig: Rig, done: Done) -> None:
    """An answer that overtakes the hibernation is applied soon after it."""
    asked: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def be_late(document: Any) -> None:
        if document["status"] == "pending":
            loop.call_soon_threadsafe(asked.put_nowait, document["pause_id"])
            time.sleep(0.7)

    flow_class = refunding(rig.client(), done.act)
    resumer = await _receiver(rig, flow_class)
    rig.looppause.listeners.append(be_late)
    run = asyncio.create_task(kickoff(flow_class, rig.url))
    pause_id = await asked.get()
    assert (await rig.deliver(resumer, rig.looppause.decide(pause_id))).status_code == 202
    assert not run.done()

    await rig.until_state(pause_id, "resumed")
    assert (done.names, await run) == (["pay"], pause_id)


async def test_a_flow_that_hibernates_again_names_its_next_pause(rig: Rig, done: Done) -> None:
    """The first answer, delivered thrice, leads to the second question and never opens it."""
    flow_class = two_gates(rig.client(), done.act)
    resumer = await _receiver(rig, flow_class)
    first = await kickoff(flow_class, rig.url)
    proof = rig.looppause.decide(first)
    for _ in range(3):
        await rig.deliver(resumer, proof)
    [second] = (await rig.until_state(first, "resumed"))["next_pauses"]
    assert done.names == ["second"]
    await rig.deliver(resumer, rig.looppause.decide(second))
    await rig.until_state(second, "resumed")
    assert done.names == ["second", "pay"]


async def test_a_loop_asks_anew_at_each_visit(rig: Rig, done: Done) -> None:
    """The same question again is another pause, with an answer of its own."""
    flow_class = looping(rig.client(), done.act)
    resumer = await _receiver(rig, flow_class)
    first = await kickoff(flow_class, rig.url)
    await rig.deliver(resumer, rig.looppause.decide(first, "rejected"))
    [second] = (await rig.until_state(first, "resumed"))["next_pauses"]
    assert second != first
    await rig.deliver(resumer, rig.looppause.decide(second))
    await rig.until_state(second, "resumed")
    assert (done.names, done.last["pause_id"]) == (["pay"], second)


async def test_two_flows_and_a_thread_in_one_receiver(rig: Rig, done: Done, refunds: Any) -> None:
    """Each answer moves what asked for it."""
    resumer = await rig.receiver(None, flows={"*": refunds})
    [thread] = await rig.hibernate(rig.agent(), "refund-1")
    ours, theirs = [await kickoff(refunds, rig.url, id=f"refund-{n}") for n in (1, 2)]
    await rig.deliver(resumer, rig.looppause.decide(theirs, "rejected"))
    await rig.deliver(resumer, rig.looppause.decide(thread))
    await rig.deliver(resumer, rig.looppause.decide(ours))
    for pause_id in (ours, theirs, thread):
        await rig.until_state(pause_id, "resumed")
    assert {result["pause_id"]: name for name, result in done.acts} == {
        ours: "pay",
        theirs: "refuse",
    }
    assert [paid["pause_id"] for paid in rig.ledger.payments] == [thread]


async def test_a_flow_that_raises_is_tried_again(rig: Rig, done: Done, refunds: Any) -> None:
    """It goes on from its gate with the same answer."""
    done.raises = 2
    resumer = await _receiver(rig, refunds)
    pause_id = await kickoff(refunds, rig.url)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "resumed")
    assert (done.names, record["attempts"]) == (["pay"] * 3, 2)


async def test_a_flow_that_keeps_raising_is_parked_and_can_be_retried(rig: Rig, done: Done) -> None:
    """An outage too is tried no oftener than the policy says: what ran before it runs again."""
    broken = [ConnectionError("its bank is away")]

    def act(name: str, review: HumanFeedbackResult) -> str:
        done.act(name, review)
        if broken:
            raise broken[0]
        return name

    flow_class = refunding(rig.client(), act)
    resumer = await _receiver(rig, flow_class)
    pause_id = await kickoff(flow_class, rig.url)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert (record["reason_code"], len(done.acts)) == ("raised", 3)
    assert record["reason"].startswith("the flow raised 3 times")

    broken.clear()
    await _retry(rig, resumer, pause_id)
    await rig.until_state(pause_id, "resumed")
    assert len(done.acts) == 4


async def test_a_flow_resumed_by_hand_is_left_alone(rig: Rig, done: Done, refunds: Any) -> None:
    """The webhook that comes afterwards finds the work done."""
    pause_id = await kickoff(refunds, rig.url)
    proof = rig.looppause.decide(pause_id)
    await aresume_flow(refunds, proof, persistence=PostgresFlowPersistence(rig.url))
    await rig.deliver(await _receiver(rig, refunds), proof)
    record = await rig.until_state(pause_id, "resumed")
    assert (record["outcome"], done.names) == ("already_resumed", ["pay"])


async def test_nobody_resumes_by_hand_what_the_receiver_resumes(
    rig: Rig, done: Done, refunds: Any
) -> None:
    """Both take the same lock."""

    async def slow(review: HumanFeedbackResult) -> str:
        await asyncio.sleep(0.5)
        return done.act("pay", review)

    flow_class = paying(rig.client(), slow)
    resumer = await _receiver(rig, flow_class)
    proof = rig.looppause.decide(await kickoff(flow_class, rig.url))
    await rig.deliver(resumer, proof)
    await rig.until_state(proof["pause_id"], "resuming")
    with pytest.raises(GateError, match="somebody else"):
        await aresume_flow(flow_class, proof, persistence=PostgresFlowPersistence(rig.url))
    await rig.until_state(proof["pause_id"], "resumed")
    assert done.names == ["pay"]


async def test_a_flow_that_blocks_its_event_loop_does_not_block_ours(
    rig: Rig, done: Done, refunds: Any
) -> None:
    """Deliveries are answered and locks watched while a flow does what it should not."""

    async def blocking(review: HumanFeedbackResult) -> str:
        time.sleep(1.0)  # noqa: ASYNC251  # on purpose
        return done.act("pay", review)

    flow_class = paying(rig.client(), blocking)
    resumer = await _receiver(rig, flow_class)
    pause_id = await kickoff(flow_class, rig.url)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    longest, last = 0.0, time.monotonic()
    while done.names == []:
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 0.7
    await rig.until_state(pause_id, "resumed")


async def test_an_unknown_flow_waits_for_the_deployment_that_knows_it(
    rig: Rig, done: Done, refunds: Any
) -> None:
    """Nothing is consumed while no class is registered for the agent."""
    elsewhere = await rig.receiver({}, flows={"payments": refunds})
    pause_id = await kickoff(refunds, rig.url)
    await rig.deliver(elsewhere, rig.looppause.decide(pause_id))

    async def told() -> Any:
        record = await rig.pause(pause_id)
        return record if record and record["reason_code"] == "no_graph" else None

    record = await until(told)
    assert record["reason"] == "no flow is registered for agent 'refunds'"
    await rig.stack.aclose()
    await _receiver(rig, refunds)
    await rig.until_state(pause_id, "resumed")
    assert done.names == ["pay"]


async def test_a_changed_class_parks_and_the_right_one_goes_on(
    rig: Rig, done: Done, refunds: Any
) -> None:
    """A class that is not what hibernated is never given the state."""
    resumer = await _receiver(rig, looping(rig.client(), done.act))
    pause_id = await kickoff(refunds, rig.url)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert record["reason_code"] == "no_gate"
    assert "a RefundFlow hibernates here, not a Looping" in record["reason"]
    await rig.stack.aclose()

    resumer = await _receiver(rig, refunds)
    await _retry(rig, resumer, pause_id)
    await rig.until_state(pause_id, "resumed")
    assert done.names == ["pay"]


async def test_a_flow_with_other_keys_refuses(rig: Rig, done: Done) -> None:
    """The gate verifies for itself; the proof is kept until the keys are mended."""
    flow_class = refunding(rig.client(), done.act)
    pause_id = await kickoff(flow_class, rig.url)
    other = refunding(client_of(FakeLoopPause()), done.act)
    resumer = await _receiver(rig, other)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    record = await rig.until_state(pause_id, "parked")
    assert (record["reason_code"], done.names) == ("refused", [])
    assert "give the flow's LoopPause client the same keys" in record["reason"]


# -- the sweep -------------------------------------------------------------------------------


@pytest.fixture
async def sweeping_flows(sweeping: Sweeping, refunds: Any) -> AsyncIterator[Sweeping]:
    """The reconciler, with flows."""
    url = sweeping.rig.url
    async with open_pool(url, size=2, name="flows") as pool:
        flows = FlowPauses(pool, Flows({"refunds": refunds}), url)
        yield replace(sweeping, reconciler=replace(sweeping.reconciler, flows=flows))


@pytest.mark.parametrize("status", ["expired", "timed_out"])
async def test_an_expiry_nobody_told_of_becomes_a_denial(
    sweeping_flows: Sweeping, done: Done, refunds: Any, status: str
) -> None:
    """LoopPause is asked for the unanswered pauses of flows, and the flow goes on, denied."""
    rig = sweeping_flows.rig
    pause_id = await kickoff(refunds, rig.url)
    (rig.looppause.expire if status == "expired" else rig.looppause.time_out)(pause_id)
    assert (await sweeping_flows.sweep()).answered == 1
    await _receiver(rig, refunds)
    await rig.until_state(pause_id, "resumed")
    assert (done.names, done.last["halt_reason"]) == (["refuse"], status)


async def test_a_lost_webhook_of_a_flow_is_found_out(
    sweeping_flows: Sweeping, done: Done, refunds: Any
) -> None:
    """And a pause is noted once, however often the sweep comes by."""
    rig = sweeping_flows.rig
    pause_id = await kickoff(refunds, rig.url)
    assert (await sweeping_flows.sweep()).waiting == 1
    assert (await sweeping_flows.sweep()).waiting == 0
    record = await rig.pause(pause_id)
    assert record is not None
    assert (record["state"], record["agent_id"]) == ("waiting", "refunds")
    rig.looppause.decide(pause_id)
    sweeping_flows.clock.now += timedelta(minutes=10)
    assert (await sweeping_flows.sweep()).answered == 1
    await _receiver(rig, refunds)
    await rig.until_state(pause_id, "resumed")
    assert done.names == ["pay"]


async def test_a_parked_flow_goes_on_once_it_is_known(
    sweeping_flows: Sweeping, done: Done, refunds: Any
) -> None:
    """What was parked for want of a class is taken up by the sweep of a receiver that has it."""
    rig = sweeping_flows.rig
    pause_id = await kickoff(refunds, rig.url)
    await rig.deliver(
        await rig.receiver({}, flows={"payments": refunds}), rig.looppause.decide(pause_id)
    )
    await rig.stack.aclose()
    await rig.rows(
        "update pauses set state = 'parked', outcome = 'parked', reason_code = 'no_graph'"
        " where pause_id = %s",
        pause_id,
    )
    assert (await sweeping_flows.sweep()).reopened == 1


# -- registering -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec, reason",
    [
        ("tests.refunds:RECIPIENTS", "no subclass of crewai's Flow"),
        ("tests.refunds:nothing", "AttributeError"),
        ("tests.no_such_module:Flow", "ModuleNotFoundError"),
        (lambda: None, "no subclass of crewai's Flow"),
    ],
)
async def test_what_is_no_flow_class_is_refused_at_the_start(
    rig: Rig, spec: Any, reason: str
) -> None:
    """A mistake shows before any answer depends on it."""
    with pytest.raises(GraphNotLoaded, match=reason):
        await _receiver(rig, spec)


async def test_without_crewai_a_registered_flow_is_a_clear_error(
    rig: Rig, refunds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver alone needs no CrewAI; a flow does, and the message says what to install."""
    monkeypatch.setitem(sys.modules, "looppause_sdk.crewai", None)
    with pytest.raises(GraphNotLoaded, match=r"pip install 'looppause-sdk\[crewai\]'"):
        await _receiver(rig, refunds)
    await rig.receiver()  # graphs go on without
