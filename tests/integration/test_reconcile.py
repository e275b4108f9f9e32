"""The sweep finds what got lost between pauses, threads and LoopPause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resumer.reconcile import Sweep, next_check
from tests import agents
from tests.integration.conftest import Rig, Sweeping


async def test_a_lost_webhook_is_found_out(sweeping: Sweeping) -> None:
    """LoopPause has an answer that never came: it is taken as if it had been delivered."""
    rig = sweeping.rig
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    rig.looppause.decide(pause_id)

    assert (await sweeping.sweep()).answered == 1
    record = await rig.pause(pause_id)
    assert record is not None
    assert (record["state"], record["decision"], record["thread_id"]) == (
        "answered",
        "approved",
        "t1",
    )
    await rig.receiver()
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


@pytest.mark.parametrize("status", ["expired", "timed_out"])
async def test_an_ended_pause_becomes_a_denial(sweeping: Sweeping, status: str) -> None:
    """What LoopPause ended unanswered closes the gate, signed notice or not."""
    rig = sweeping.rig
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    (rig.looppause.expire if status == "expired" else rig.looppause.time_out)(pause_id)

    assert (await sweeping.sweep()).answered == 1
    await rig.receiver()
    await rig.until_state(pause_id, "resumed")
    state = await rig.state(rig.agent(), "t1")
    assert state.values["looppause"]["halt_reason"] == status
    assert rig.ledger.payments == []


async def test_a_denial_opens_nothing_even_where_no_human_is_required(sweeping: Sweeping) -> None:
    """An unsigned denial can only close: `require_human=False` does not change that."""
    rig = sweeping.rig
    graph = rig.agent(require_human=False)
    [pause_id] = await rig.hibernate(graph, "t1")
    await sweeping.reconciler.intake.pauses.record_denial(pause_id, "expired")
    await rig.receiver({"procurement": graph})
    await rig.until_state(pause_id, "resumed")
    assert rig.ledger.payments == []


async def test_a_pause_nobody_answered_yet_stays_on_the_list(sweeping: Sweeping) -> None:
    """It is noted as waiting, with who asked and until when, and asked for again later."""
    rig = sweeping.rig
    [pause_id] = await rig.hibernate(rig.agent(), "t1")

    assert await sweeping.sweep() == Sweep(waiting=1, asked=1)
    assert await sweeping.sweep() == Sweep(waiting=1, asked=0)
    record = await rig.pause(pause_id)
    assert record is not None
    assert (record["state"], record["thread_id"], record["agent_id"]) == (
        "waiting",
        "t1",
        "procurement",
    )
    assert record["expires_at"] - record["asked_at"] > timedelta(hours=23)

    sweeping.clock.now += timedelta(minutes=6)
    assert (await sweeping.sweep()).asked == 1


async def test_a_fresh_pause_is_left_to_its_webhook(sweeping: Sweeping) -> None:
    """LoopPause is not asked for a pause that is younger than a minute."""
    sweeping.clock.now = datetime.now(UTC)
    await sweeping.rig.hibernate(sweeping.rig.agent(), "t1")
    assert await sweeping.sweep() == Sweep(waiting=1, asked=0)


async def test_a_delivered_answer_is_not_asked_for(sweeping: Sweeping) -> None:
    """A pause that was answered, or whose thread has moved on, is no longer pending."""
    rig = sweeping.rig
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")
    assert await sweeping.sweep() == Sweep()
    assert sweeping.calls == []


async def test_looppause_down_is_one_warning(
    sweeping: Sweeping, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage ends the asking of this sweep, loses nothing and is told once."""
    rig = sweeping.rig
    for number in range(12):
        await rig.hibernate(rig.agent(), f"t{number}")
    rig.looppause.fail_next(503, times=1000)
    with caplog.at_level("WARNING"):
        assert (await sweeping.sweep()).answered == 0
    assert len([r for r in caplog.records if "looppause_unavailable" in r.getMessage()]) == 1
    assert len(sweeping.calls) <= 8

    rig.looppause.faults.clear()
    for document in rig.looppause.documents():
        rig.looppause.decide(document["pause_id"])
    assert (await sweeping.sweep()).answered == 12


async def test_one_bad_pause_does_not_stop_the_sweep(sweeping: Sweeping) -> None:
    """A pause LoopPause does not know, or answers for unverifiably, is put off with a reason."""
    rig = sweeping.rig
    [unknown] = await rig.hibernate(rig.agent(), "t1")
    [forged] = await rig.hibernate(rig.agent(), "t2")
    [good] = await rig.hibernate(rig.agent(), "t3")
    rig.looppause.decide(good)
    rig.looppause.decide(forged)
    del rig.looppause.pauses[unknown]
    document = rig.looppause.pauses[forged]
    document["proof"] = {**document["proof"], "responder": "mallory"}

    assert (await sweeping.sweep()).answered == 1
    for pause_id in (unknown, forged):
        record = await rig.pause(pause_id)
        assert record is not None
        assert record["state"] == "waiting"
        assert "no usable answer" in record["reason"]


async def test_an_answered_pause_without_a_job_is_enqueued_again(sweeping: Sweeping) -> None:
    """Work that vanished from the queue is found by its record."""
    rig = sweeping.rig
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await sweeping.reconciler.intake.accept(_bytes(rig.looppause.decide(pause_id)))
    await rig.rows("delete from procrastinate_jobs")
    await rig.rows("update pauses set received_at = received_at - interval '1 minute'")

    assert (await sweeping.sweep()).requeued == 1
    assert (await sweeping.sweep()).requeued == 0
    await rig.receiver()
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_a_parked_early_proof_goes_on_when_its_thread_appears(sweeping: Sweeping) -> None:
    """A reason that passed by itself reopens the pause."""
    rig = sweeping.rig
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await sweeping.reconciler.intake.accept(_bytes(rig.looppause.decide(pause_id)))
    await rig.rows("delete from procrastinate_jobs")
    await rig.rows(
        "update pauses set state = 'parked', reason_code = 'early', reason = 'too early'"
    )

    assert (await sweeping.sweep()).reopened == 1
    await rig.receiver()
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_a_parked_pause_whose_graph_was_added_goes_on(rig: Rig, sweeping: Sweeping) -> None:
    """Parked for want of a graph: reopened once the graph is registered, not before."""
    [pause_id] = await rig.hibernate(rig.agent(agent_id="travel"), "t1")
    await sweeping.reconciler.intake.accept(_bytes(rig.looppause.decide(pause_id)))
    await rig.rows("delete from procrastinate_jobs")
    await rig.rows("update pauses set state = 'parked', reason_code = 'no_graph', reason = 'none'")

    assert (await sweeping.sweep()).reopened == 0
    sweeping.clock.now += timedelta(minutes=6)
    graphs = sweeping.reconciler.graphs
    graphs.registered = {**graphs.registered, "travel": rig.agent(agent_id="travel")}
    assert (await sweeping.sweep()).reopened == 1


async def test_undecodable_interrupts_do_not_stop_the_reading(sweeping: Sweeping) -> None:
    """One row that cannot be read is skipped; those after it are found."""
    rig = sweeping.rig
    await rig.hibernate(rig.agent(), "t1")
    await rig.rows(
        "update public.checkpoint_writes set blob = '\\xc1c1c1'"
        " where channel = '__interrupt__' and thread_id = 't1'"
    )
    await rig.hibernate(rig.agent(), "t2")
    assert (await sweeping.sweep()).waiting == 1


@pytest.mark.parametrize("shape", ["parallel", "subgraph"])
async def test_every_gate_of_a_thread_is_noted(sweeping: Sweeping, shape: str) -> None:
    """Parallel gates and gates in subgraphs are all on the list, once each."""
    from langgraph.graph import START, StateGraph

    rig = sweeping.rig
    inner = StateGraph(agents.State)
    for name in ("looppause", "second"):
        inner.add_node(name, agents.gate(rig.client(), state_key=name))
        inner.add_edge(START, name)
    outer = StateGraph(agents.State)
    outer.add_node("sub", inner.compile())
    outer.add_edge(START, "sub")
    graph = inner.compile() if shape == "parallel" else outer.compile()
    pauses = await rig.hibernate(graph, "t1")
    assert (await sweeping.sweep()).waiting == 2
    rows = await rig.rows("select pause_id from pauses where state = 'waiting'")
    assert {row["pause_id"] for row in rows} == set(pauses)


async def test_one_sweep_at_a_time(sweeping: Sweeping) -> None:
    """While another process sweeps there is nothing to do; afterwards there is."""
    async with sweeping.reconciler.watchlist.alone() as alone:
        assert alone
        assert await sweeping.reconciler.sweep() is None
    assert await sweeping.sweep() == Sweep()


async def test_sweeps_read_on_where_the_last_one_ended(sweeping: Sweeping) -> None:
    """Old interrupts are read once; a full reading from the first comes round by the clock."""
    rig = sweeping.rig
    await rig.hibernate(rig.agent(), "t1")
    assert (await sweeping.sweep()).waiting == 1
    sweeping.clock.now += timedelta(hours=1)
    assert (await sweeping.sweep()).waiting == 0
    sweeping.clock.now += timedelta(hours=6)
    assert (await sweeping.sweep()).waiting == 1


async def test_the_worker_sweeps_by_itself(rig: Rig) -> None:
    """With an interval of a second, a lost webhook is repaired without anybody's doing."""
    from resumer.emulator import Emulator
    from resumer.serving import serving

    emulator = Emulator(rig.looppause, deliver=False)
    async with serving(emulator.app, "127.0.0.1", 0, drain_seconds=1) as address:
        await rig.receiver(api_key="key", api_url=address, reconcile_seconds=1.0)
        [pause_id] = await rig.hibernate(rig.agent(), "t1")
        rig.looppause.decide(pause_id)
        await rig.until_state(pause_id, "resumed", seconds=15)
    assert len(rig.ledger.payments) == 1


NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (None, 300),
        (timedelta(hours=24), 300),
        (timedelta(minutes=20), 120),
        (timedelta(minutes=2), 60),
        (timedelta(0), 60),
        (timedelta(minutes=-30), 180),
        (timedelta(days=-3), 300),
    ],
)
def test_when_to_ask_again(expires_in: timedelta | None, seconds: float) -> None:
    """Every few minutes, oftener near the end of the pause, never oftener than the sweep."""
    expires_at = None if expires_in is None else NOW + expires_in
    assert next_check(NOW, expires_at, 60.0) == NOW + timedelta(seconds=seconds)


def _bytes(proof: dict[str, Any]) -> bytes:
    import json

    return json.dumps(proof).encode()
