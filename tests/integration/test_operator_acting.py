"""What an operator does: over real threads, a real queue and a real worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest

from resumer.db import open_pool
from resumer.model import State
from resumer.operator.acting import EVERY_AGENT, Acting, NotPossible, UnknownPause
from resumer.operator.reading import Reading
from resumer.operator.views import Filter
from tests import agents
from tests.agents import State as Payment
from tests.integration.conftest import Rig, until


@pytest.fixture
async def acting(rig: Rig) -> AsyncIterator[Acting]:
    async with open_pool(rig.url, size=2, schema="resumer", name="operator") as pool:
        yield Acting(pool)


@pytest.fixture
def reading(acting: Acting) -> Reading:
    return Reading(acting.pool)


def failing(rig: Rig, broken: list[bool]) -> Any:
    """An agent that cannot pay for as long as it is `broken`."""

    def pay(state: Payment) -> dict[str, Any]:
        if broken:
            raise RuntimeError("the bank is closed")
        return rig.ledger.pay(state)

    return agents.payment_agent(rig.client(), pay)


async def parked(rig: Rig, broken: list[bool], **settings: Any) -> tuple[str, Any]:
    """A pause that is parked since its graph raised, and its receiver."""
    graph = failing(rig, broken)
    resumer = await rig.receiver({"procurement": graph}, retry_delays=(), **settings)
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "parked")
    return pause_id, resumer


async def events_of(rig: Rig, pause_id: str) -> list[str]:
    rows = await rig.rows("select event from events where pause_id = %s order by id", pause_id)
    return [row["event"] for row in rows]


async def test_a_failed_pause_is_retried_at_once(rig: Rig, acting: Acting) -> None:
    """Its job waits for its next attempt in an hour: a retry does not."""
    broken = [True]
    graph = failing(rig, broken)
    resumer = await rig.receiver({"procurement": graph}, retry_delays=(3600.0,))
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "failed")
    await until(lambda: rig.rows("select 1 from procrastinate_jobs where scheduled_at > now()"))

    broken.clear()
    began = time.monotonic()
    assert await acting.retry([pause_id], by="ada") == [pause_id]
    await rig.until_state(pause_id, "resumed")
    assert time.monotonic() - began < 5.0
    assert len(rig.ledger.payments) == 1
    # The queue deletes the job a moment after its outcome is stored.
    no_job = "not exists (select from procrastinate_jobs where task_name = 'resume')"
    await until(lambda: rig.rows(f"select 1 where {no_job}"))


async def test_a_retry_is_told_of_and_audited(rig: Rig, acting: Acting) -> None:
    """The pause's own story and the audit both say who."""
    broken = [True]
    pause_id, _ = await parked(rig, broken)
    broken.clear()
    assert await acting.retry([pause_id, "unheard of"], by="ada") == [pause_id]
    await rig.until_state(pause_id, "resumed")
    assert await events_of(rig, pause_id) == [
        "delivered",
        "started",
        "parked",
        "retried",
        "started",
        "resumed",
    ]
    [entry] = await acting.audit()
    assert (entry.who, entry.action, entry.target) == ("ada", "retried", pause_id)
    assert entry.detail == {"pause_ids": [pause_id]}


async def test_what_is_not_parked_or_failed_is_left_as_it_is(rig: Rig, acting: Acting) -> None:
    """A second retry does nothing and is not audited, and says why where there is nothing to do."""
    pause_id, _ = await parked(rig, [True], concurrency=1)
    await acting.hold("procurement", by="ada")
    assert await acting.retry_one(pause_id, by="ada") is True
    assert await acting.retry_one(pause_id, by="ada") is False
    await acting.release("procurement", by="ada")
    await rig.until_state(pause_id, "parked")
    assert [entry.action for entry in await acting.audit()] == ["released", "retried", "held"]
    with pytest.raises(UnknownPause, match="no pause 'p9' has been seen"):
        await acting.retry_one("p9", by="ada")
    await rig.rows("insert into pauses (pause_id, state) values ('p1', 'waiting')")
    with pytest.raises(NotPossible, match="is waiting: there is no answer"):
        await acting.retry_one("p1", by="ada")


async def made(rig: Rig, count: int, state: str = "parked", agent_id: str = "a") -> None:
    await rig.rows(
        "insert into pauses (pause_id, state, body, decision, agent_id, reason_code, received_at)"
        " select %s || n, %s, '{}', 'approved', %s, 'raised', now()"
        " from generate_series(1, %s) as n",
        f"{agent_id}-{state}-",
        state,
        agent_id,
        count,
    )


async def test_retrying_all_that_match_is_tried_dry_first(rig: Rig, acting: Acting) -> None:
    """The dry run changes nothing; the act takes only what matches and is parked or failed."""
    await made(rig, 3)
    await made(rig, 2, state="failed")
    await made(rig, 2, state="answered")
    await made(rig, 4, agent_id="b")
    wanted = Filter(agent_id="a")
    would = await acting.retry_matching(wanted, by="ada", dry_run=True)
    assert len(would) == 5
    assert await acting.audit() == []
    assert await acting.retry_matching(Filter(states=(State.ANSWERED,)), by="a", dry_run=True) == []

    done = await acting.retry_matching(wanted, by="ada", dry_run=False)
    assert sorted(done) == sorted(would)
    assert await acting.retry_matching(wanted, by="ada", dry_run=False) == []
    [entry] = await acting.audit()
    assert (entry.target, entry.detail["filter"]) == ("5 pauses", {"agent_id": "a"})
    queued = await rig.rows("select 1 from procrastinate_jobs where status = 'todo'")
    assert len(queued) == 5


async def test_many_are_retried_in_batches(rig: Rig, acting: Acting) -> None:
    """Each batch is one transaction with its own audit row; `most` is kept to."""
    await made(rig, 1200)
    done = await acting.retry_matching(Filter(), by="ada", dry_run=False, most=1100)
    assert len(set(done)) == 1100
    assert [entry.target for entry in await acting.audit()] == ["100 pauses"] + ["500 pauses"] * 2
    left = await rig.rows("select 1 from pauses where state = 'parked'")
    assert len(left) == 100


async def test_what_cannot_be_audited_is_not_done(rig: Rig, acting: Acting) -> None:
    """An act and its audit row are one transaction."""
    await made(rig, 2)
    await rig.rows("alter table audit rename to elsewhere")
    acts: list[Callable[[], Any]] = [
        lambda: acting.retry(["a-parked-1"], by="ada"),
        lambda: acting.discard("a-parked-2", by="ada"),
        lambda: acting.hold("a", by="ada"),
    ]
    for act in acts:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await act()
    assert await rig.rows("select 1 from pauses where state <> 'parked'") == []
    assert await rig.rows("select 1 from events") == []
    assert await rig.rows("select 1 from procrastinate_jobs") == []
    assert await rig.rows("select 1 from holds") == []


@pytest.mark.parametrize("act", ["retry", "release"])
async def test_a_job_about_to_be_put_off_does_not_delay_it(
    rig: Rig, acting: Acting, act: str
) -> None:
    """A worker has stored how it ended and not yet put its job off: the next one runs all the same."""
    await made(rig, 1, state="failed")
    await rig.rows("update pauses set reason_code = 'held'")
    await rig.rows(
        "insert into procrastinate_jobs (queue_name, task_name, lock, args, status)"
        " values ('resume', 'resume', 'a-failed-1', '{\"pause_id\": \"a-failed-1\"}', 'doing')"
    )
    await acting.hold("a", by="ada")
    if act == "retry":
        assert await acting.retry(["a-failed-1"], by="ada") == ["a-failed-1"]
    else:
        assert await acting.release("a", by="ada")
    await rig.rows(
        "update procrastinate_jobs set status = 'todo', scheduled_at = now() + interval '1 hour'"
        " where status = 'doing'"
    )
    [worker] = await rig.rows("insert into procrastinate_workers default values returning id")
    [job] = await rig.rows(
        "select * from procrastinate_fetch_job_v2(array['resume'], %s)", worker["id"]
    )
    assert (job["lock"], job["scheduled_at"]) == ("a-failed-1", None)


async def test_a_parked_pause_is_discarded_for_good(
    rig: Rig, acting: Acting, reading: Reading
) -> None:
    """Its proof is kept; no delivery, retry, sweep or job takes it up again."""
    broken = [True]
    pause_id, resumer = await parked(rig, broken)
    broken.clear()
    assert await acting.discard(pause_id, by="ada", reason="paid by hand") is True
    assert await acting.discard(pause_id, by="ada") is False

    again = await rig.deliver(resumer, rig.looppause.get(pause_id))
    assert again.json()["status"] == "duplicate"
    assert await acting.retry([pause_id], by="ada") == []
    await rig.rows(
        "select procrastinate_defer_jobs_v1(array[row('resume', 'resume', 0, %s, null,"
        " jsonb_build_object('pause_id', %s::text), null)::procrastinate_job_to_defer_v1])",
        pause_id,
        pause_id,
    )
    await until(lambda: _is_idle(rig))
    detail = await reading.detail(pause_id)
    assert detail is not None
    assert (detail.row.state, detail.row.reason_code) == (State.DISCARDED, "raised")
    assert detail.row.finished_at is not None
    assert detail.proof is not None
    assert detail.events[3].detail == {"by": "ada", "reason": "paid by hand"}
    assert rig.ledger.payments == []
    [entry] = await acting.audit()
    assert (entry.action, entry.detail) == ("discarded", {"reason": "paid by hand"})


async def _is_idle(rig: Rig) -> bool:
    return not await rig.rows("select 1 from procrastinate_jobs where task_name = 'resume'")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("waiting", "nobody has answered yet"),
        ("answered", "it is about to be resumed"),
        ("resuming", "it is being resumed now"),
        ("resumed", "its thread has gone on"),
    ],
)
async def test_what_may_not_be_discarded(rig: Rig, acting: Acting, state: str, why: str) -> None:
    """Only what is parked or failed can be; the reason says why this cannot."""
    await made(rig, 1, state=state)
    with pytest.raises(NotPossible, match=why):
        await acting.discard(f"a-{state}-1", by="ada")
    with pytest.raises(UnknownPause):
        await acting.discard("unheard of", by="ada")
    assert await acting.audit() == []


async def test_a_held_agent_is_not_resumed_until_it_is_released(
    rig: Rig, acting: Acting, reading: Reading
) -> None:
    """The answer is taken and waits; released, the thread goes on at once."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    assert await acting.hold("procurement", by="ada", reason="deploying") is True
    assert await acting.hold("procurement", by="bob") is False
    assert (await rig.deliver(resumer, rig.looppause.decide(pause_id))).status_code == 202
    await until(lambda: _with_reason(rig, pause_id, "held"))
    [held] = await reading.holds()
    assert (held.held_by, held.reason, held.running) == ("ada", "deploying", 0)
    assert rig.ledger.payments == []

    began = time.monotonic()
    assert await acting.release("procurement", by="ada") is True
    assert await acting.release("procurement", by="ada") is False
    record = await rig.until_state(pause_id, "resumed")
    assert time.monotonic() - began < 4.0, "it waited for its next look"
    assert (record["reason_code"], len(rig.ledger.payments)) == (None, 1)
    assert await events_of(rig, pause_id) == ["delivered", "held", "started", "resumed"]
    assert [entry.action for entry in await acting.audit()] == ["released", "held"]


async def _with_reason(rig: Rig, pause_id: str, code: str) -> Any:
    record = await rig.pause(pause_id)
    return record if record and record["reason_code"] == code else None


async def test_what_runs_when_its_agent_is_held_runs_to_its_end(
    rig: Rig, acting: Acting, reading: Reading
) -> None:
    """A hold drains: nothing is cut off, nothing new begins."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pay(state: Payment) -> dict[str, Any]:
        begun.set()
        await go_on.wait()
        return rig.ledger.pay(state)

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph})
    [first] = await rig.hibernate(graph, "t1")
    [second] = await rig.hibernate(graph, "t2", amount=8)
    await rig.deliver(resumer, rig.looppause.decide(first))
    await begun.wait()
    await acting.hold("procurement", by="ada")
    await rig.deliver(resumer, rig.looppause.decide(second))
    await until(lambda: _with_reason(rig, second, "held"))
    [held] = await reading.holds()
    assert held.running == 1
    go_on.set()
    await rig.until_state(first, "resumed")
    assert len(rig.ledger.payments) == 1


async def test_every_agent_can_be_held_at_once(rig: Rig, acting: Acting) -> None:
    """`*` holds those whose gates give no name, too."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await acting.hold(EVERY_AGENT, by="ada")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await until(lambda: _with_reason(rig, pause_id, "held"))
    await acting.release("procurement", by="ada")
    assert (await rig.pause(pause_id) or {})["state"] == "answered"
    await acting.release(EVERY_AGENT, by="ada")
    await rig.until_state(pause_id, "resumed")
