"""Several gates in one task: the root graph shows one question, the others only their own rows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from resumer import Resumer
from tests import agents
from tests.integration.conftest import Rig, Sweeping, until
from tests.nested import Calls, gathered, in_threads

KINDS = pytest.mark.parametrize("kind", [gathered, in_threads], ids=["async", "sync"])


async def hibernated(rig: Rig, graph: Any, thread_id: str = "t1") -> str:
    """Run to the gates; return the one question the root graph shows."""
    [shown] = await rig.hibernate(graph, thread_id)
    return shown


@KINDS
@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_each_answer_reaches_its_own_call(rig: Rig, kind: Any, order: str) -> None:
    """In either order: the shown question first, or the hidden one."""
    calls = Calls(rig.client())
    graph = kind(calls)
    resumer = await rig.receiver({"procurement": graph})
    shown = await hibernated(rig, graph)
    assert shown == calls.pauses["a"]
    for count, name in enumerate(order, start=1):
        proof = rig.looppause.decide(calls.pauses[name], responder=name)
        await rig.deliver(resumer, proof)
        record = await rig.until_state(calls.pauses[name], "resumed")
        assert record["outcome"] == "resumed"
        assert [paid for paid, _ in calls.paid] == list(order[:count])
    assert calls.paid == [(name, name) for name in order]
    state = await rig.state(graph, "t1")
    assert (state.next, state.values["done"]) == ((), ["a: paid", "b: paid"])


@KINDS
async def test_a_denial_of_the_hidden_one_spares_the_other(rig: Rig, kind: Any) -> None:
    """The hidden call ends unpaid, the shown one is still asked."""
    calls = Calls(rig.client())
    graph = kind(calls)
    resumer = await rig.receiver({"procurement": graph})
    shown = await hibernated(rig, graph)
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses["b"], "rejected"))
    record = await rig.until_state(calls.pauses["b"], "resumed")
    assert record["next_pauses"] == [shown]
    await rig.deliver(resumer, rig.looppause.decide(shown))
    await rig.until_state(shown, "resumed")
    assert (await rig.state(graph, "t1")).values["done"] == ["a: paid", "b: no"]


@KINDS
async def test_all_answers_at_once_and_each_five_times(rig: Rig, kind: Any) -> None:
    """Whoever comes first, every call is paid once."""
    calls = Calls(rig.client(), names=("a", "b", "c"))
    graph = kind(calls)
    resumer = await rig.receiver({"procurement": graph})
    await hibernated(rig, graph)
    proofs = [rig.looppause.decide(calls.pauses[name], responder=name) for name in "cab"]
    await asyncio.gather(*(rig.deliver(resumer, proof) for proof in proofs * 5))
    for name in "abc":
        await rig.until_state(calls.pauses[name], "resumed")
    assert sorted(calls.paid) == [("a", "a"), ("b", "b"), ("c", "c")]
    assert (await rig.state(graph, "t1")).next == ()


@KINDS
async def test_answers_before_the_thread_hibernates(rig: Rig, kind: Any) -> None:
    """Both proofs are there before the questions are stored: neither is lost."""
    calls = Calls(rig.client())
    graph = kind(calls)
    rehearsal = Calls(rig.client())
    await hibernated(rig, kind(rehearsal))  # the same thread id, so the same pauses
    await rig.rows("truncate public.checkpoints, public.checkpoint_writes")
    resumer = await rig.receiver({"procurement": graph})
    for name in "ba":
        await rig.deliver(resumer, rig.looppause.decide(rehearsal.pauses[name], responder=name))
    await hibernated(rig, graph)
    for name in "ab":
        await rig.until_state(calls.pauses[name], "resumed")
    assert sorted(calls.paid) == [("a", "a"), ("b", "b")]


async def test_the_worker_stops_while_the_hidden_call_runs(rig: Rig) -> None:
    """Cut off before the payment: another worker takes the same answer up, and pays once."""
    calls = Calls(rig.client())
    graph = gathered(calls)
    await hibernated(rig, graph)
    calls.stop = asyncio.Event()
    secrets = [rig.looppause.secret]
    first = Resumer(
        {"procurement": graph}, database_url=rig.url, signing_secrets=secrets, drain_seconds=0.1
    )
    async with first.running():
        await rig.deliver(first, rig.looppause.decide(calls.pauses["b"], responder="b"))
        await asyncio.wait_for(calls.stop.wait(), 10)
    calls.stop = None
    assert calls.paid == []
    await rig.receiver({"procurement": graph})
    await rig.until_state(calls.pauses["b"], "resumed")
    assert calls.paid == [("b", "b")]
    [left] = (await rig.state(graph, "t1")).interrupts
    assert left.value["pause_id"] == calls.pauses["a"]


@KINDS
@pytest.mark.parametrize("failures", [1, 3])
async def test_the_hidden_call_fails(rig: Rig, kind: Any, failures: int) -> None:
    """It is tried again by the policy, then parked, though the node shows only its sibling."""
    calls = Calls(rig.client())
    graph = kind(calls)
    left = failures

    def fail(name: str) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ConnectionError("the bank is closed")

    calls.before_paying = fail
    resumer = await rig.receiver({"procurement": graph})
    await hibernated(rig, graph)
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses["b"], responder="b"))
    record = await rig.until_state(calls.pauses["b"], "resumed", "parked")
    assert record["state"] == ("resumed" if failures == 1 else "parked")
    assert calls.paid == ([("b", "b")] if failures == 1 else [])
    if failures == 3:
        assert "the bank is closed" in record["reason"]
        await resumer.retry([calls.pauses["b"]])
        await rig.until_state(calls.pauses["b"], "resumed")
        assert calls.paid == [("b", "b")]


@KINDS
@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_worker_that_died_before_noting_the_outcome(rig: Rig, kind: Any, name: str) -> None:
    """The call is not run a second time, whether the root graph had shown it or not."""
    calls = Calls(rig.client())
    graph = kind(calls)
    resumer = await rig.receiver({"procurement": graph})
    await hibernated(rig, graph)
    pause_id = calls.pauses[name]
    await rig.deliver(resumer, rig.looppause.decide(pause_id, responder=name))
    await rig.until_state(pause_id, "resumed")
    await rig.rows("update pauses set state = 'parked' where pause_id = %s", pause_id)
    await resumer.retry([pause_id])
    record = await rig.until_state(pause_id, "resumed")
    assert record["outcome"] == "resumed"
    assert calls.paid == [(name, name)]
    [left] = (await rig.state(graph, "t1")).interrupts
    assert left.value["pause_id"] == calls.pauses["b" if name == "a" else "a"]


@KINDS
@pytest.mark.parametrize("name", ["a", "b"])
async def test_the_node_fails_after_the_call_was_paid(rig: Rig, kind: Any, name: str) -> None:
    """What has run is kept in its nested graph: the retry does not pay again."""
    calls = Calls(rig.client())
    graph = kind(calls)
    resumer = await rig.receiver({"procurement": graph})
    await hibernated(rig, graph)
    broken = calls.client.create_pause
    others = {"a": "b", "b": "a"}
    failures = 2

    def create_pause(**question: Any) -> str:
        nonlocal failures
        if question["action"]["details"]["name"] == others[name] and failures:
            failures -= 1
            raise RuntimeError("the other call cannot be asked")
        return broken(**question)

    calls.client.create_pause = create_pause  # type: ignore[method-assign]  # fails as a node may
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses[name], responder=name))
    record = await rig.until_state(calls.pauses[name], "resumed")
    assert (failures, record["outcome"], calls.paid) == (0, "resumed", [(name, name)])
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses[others[name]], responder="x"))
    await rig.until_state(calls.pauses[others[name]], "resumed")
    assert calls.paid == [(name, name), (others[name], "x")]


async def test_a_hidden_call_that_is_not_reached_waits_for_its_sibling(rig: Rig) -> None:
    """Its answer is kept while the node stops before it, and taken once it shows."""
    calls = Calls(rig.client())
    graph = gathered(calls)
    resumer = await rig.receiver({"procurement": graph})
    await hibernated(rig, graph)
    calls.names = ("a",)  # executed again, the node stops at the first call
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses["b"], responder="b"))

    async def postponed() -> Any:
        record = await rig.pause(calls.pauses["b"])
        return record and record["reason_code"] == "hidden"

    await until(postponed)
    entered = len(calls.entered)
    await asyncio.sleep(0.7)
    assert len(calls.entered) == entered, "the node is not run again and again meanwhile"
    calls.names = ("a", "b")
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses["a"], responder="a"))
    for name in "ab":
        await rig.until_state(calls.pauses[name], "resumed")
    assert calls.paid == [("a", "a"), ("b", "b")]


async def test_a_hidden_question_the_thread_has_left_is_not_answered(rig: Rig) -> None:
    """The thread went on without it: nothing is run for an answer that comes then."""
    calls = Calls(rig.client())
    graph = gathered(calls)
    resumer = await rig.receiver({"procurement": graph})
    await hibernated(rig, graph)
    async with agents.hibernating(graph, rig.url) as attached:
        await attached.aupdate_state(agents.on("t1"), {"done": ["by hand"]}, as_node="tools")
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses["b"]))
    record = await rig.until_state(calls.pauses["b"], "resumed")
    assert (record["outcome"], calls.paid) == ("already_resumed", [])


async def test_the_sweep_sees_hidden_questions(sweeping: Sweeping) -> None:
    """All of a task's questions are on the list at once, and each is asked for."""
    rig = sweeping.rig
    calls = Calls(rig.client(), names=("a", "b", "c"))
    graph = gathered(calls)
    await hibernated(rig, graph)
    rig.looppause.decide(calls.pauses["b"], responder="b")
    done = await sweeping.sweep()
    assert (done.waiting, done.asked, done.answered) == (3, 3, 1)
    await rig.receiver({"procurement": graph}, reconcile_seconds=0)
    await rig.until_state(calls.pauses["b"], "resumed")
    assert calls.paid == [("b", "b")]
    assert (await sweeping.sweep()).waiting == 2, "what was answered waits no more"


async def test_a_question_asked_later_in_a_step_read_long_ago_is_swept(
    rig: Rig, sweeping: Sweeping
) -> None:
    """A second gate of the same task has its first one's checkpoint: it is noted on resuming."""
    calls = Calls(rig.client(), names=("a",))
    graph = gathered(calls)
    resumer = await rig.receiver({"procurement": graph}, reconcile_seconds=0)
    await hibernated(rig, graph)
    sweeping.clock.now += timedelta(hours=1)
    await sweeping.sweep()
    calls.names = ("a", "b")
    await rig.deliver(resumer, rig.looppause.decide(calls.pauses["a"], responder="a"))
    await rig.until_state(calls.pauses["a"], "resumed")
    rig.looppause.decide(calls.pauses["b"], responder="b")
    sweeping.clock.now += timedelta(hours=1)
    done = await sweeping.sweep()
    assert (done.waiting, done.answered) == (0, 1)
    await rig.until_state(calls.pauses["b"], "resumed")
    assert calls.paid == [("a", "a"), ("b", "b")]
