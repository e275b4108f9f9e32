"""kill -9 at a chosen point: nothing is lost, only the node that died runs once more."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import LiteralString

import pytest

from .harness import World
from .holds import Blocked
from .replicas import Replica
from .verdict import Thread

pytestmark = pytest.mark.faults

CONCURRENCY = "24"


@dataclass(frozen=True)
class Point:
    """Where a worker is killed.

    `by` names the point by pause or thread; `locked` says whether the thread's lock is held
    there; `lost` whether the statement it stands in dies too, or is committed after the death.
    """

    name: str
    by: str
    locked: bool
    lost: bool


POINTS = [
    Point("begin", "pause", locked=True, lost=True),
    Point("begin", "pause", locked=True, lost=False),
    Point("gate", "thread", locked=True, lost=True),
    Point("write", "thread", locked=True, lost=True),
    Point("write", "thread", locked=True, lost=False),
    Point("checkpoint", "thread", locked=True, lost=True),
    Point("checkpoint", "thread", locked=True, lost=False),
    Point("before_pay", "thread", locked=True, lost=True),
    Point("after_pay", "thread", locked=True, lost=True),
    Point("after_notify", "thread", locked=True, lost=True),
    Point("outcome", "pause", locked=True, lost=True),
    Point("outcome", "pause", locked=True, lost=False),
    Point("job_done", "pause", locked=False, lost=True),
    Point("claim", "pause", locked=False, lost=False),  # last: it holds the queue up
]


async def test_one_kill_at_every_point(world: World) -> None:
    """A worker dies in fourteen threads at once, in each at another point of the way."""
    await world.start("web")
    worker = await world.start("worker", RESUMER_CONCURRENCY=CONCURRENCY)
    stands: list[Blocked] = []
    async with AsyncExitStack() as holds:
        for point in POINTS:
            thread = await world.hibernate("pay")
            name = world.pauses(thread)[0] if point.by == "pause" else thread.thread_id
            hold = await holds.enter_async_context(world.database.hold(point.name, name))
            await world.approve([thread])
            stands.append(await hold.reached())
            assert stands[-1].process == worker.name, point
            holders = await world.database.lock_holders(thread.thread_id)
            assert [found.process for found in holders] == [worker.name] * point.locked, point
        await world.kill(worker.name)
        for point, blocked in zip(POINTS, stands, strict=True):
            if point.lost:
                await world.database.terminate(blocked.backend)
    await world.start("worker")
    verdict = await world.kept()
    assert 2 <= len(verdict.again) <= len(POINTS)  # after_pay and after_notify for certain


async def test_killed_between_the_last_write_and_its_checkpoint(world: World) -> None:
    """A node whose writes are stored, but not the step they belong to, is not the thread's end."""
    await world.start("web")
    worker = await world.start("worker")
    thread = await world.hibernate("pay")
    async with world.database.hold("after_pay", thread.thread_id) as in_pay:
        await world.approve([thread])
        await in_pay.reached()
        async with world.database.hold("write", thread.thread_id) as storing:
            await in_pay.release()
            blocked = await storing.reached()
            assert blocked.process == worker.name
            await world.kill(worker.name)
    assert await _stored(world, thread, "pay")
    await world.start("worker")
    verdict = await world.kept()
    assert len(verdict.again) <= 1


async def _stored(world: World, thread: Thread, node: str) -> bool:
    query = (
        "select count(*) from faults.ledger join faults.commits using (thread_id, task_id)"
        " where thread_id = %s and node = %s"
    )
    async with asyncio.timeout(5):
        while not await world.database.value(query, (thread.thread_id, node)):
            await asyncio.sleep(0.02)
    return True


async def test_killed_web_between_commit_and_reply(world: World) -> None:
    """The sender saw no answer, the proof is on disk: delivering it again is a duplicate."""
    web, other = await world.start("web"), await world.start("web")
    await world.start("worker")
    thread = await world.hibernate("pay")
    proof = world.decide(thread)
    async with world.database.hold("recorded", proof["pause_id"]) as hold:
        sending = asyncio.create_task(world.deliver(proof, web))
        blocked = await hold.reached()
        assert blocked.process == web.name
        await world.kill(web.name)
        assert (await sending).status is None
    again = await world.deliver(proof, other)
    assert (again.status, again.result) == (200, "duplicate")
    await world.kept()


async def test_killed_web_before_commit(world: World) -> None:
    """What was not committed was not acknowledged; the next delivery is taken as the first."""
    web, other = await world.start("web"), await world.start("web")
    await world.start("worker")
    thread = await world.hibernate("pay")
    proof = world.decide(thread)
    async with world.database.hold("recorded", proof["pause_id"]) as hold:
        sending = asyncio.create_task(world.deliver(proof, web))
        blocked = await hold.reached()
        await world.kill(web.name)
        await world.database.terminate(blocked.backend)
        assert (await sending).status is None
    again = await world.deliver(proof, other)
    assert (again.status, again.result) == (202, "accepted")
    await world.kept()


async def test_killed_inside_every_payment(world: World) -> None:
    """Threads with several gates survive a worker killed inside each of their payments."""
    await world.start("web")
    worker = await world.start("worker", RESUMER_CONCURRENCY=CONCURRENCY)
    threads = [await world.hibernate(kind) for kind in ("twice", "three", "fan")]
    for pause_id in world.pauses(threads[1])[:2]:
        await world.insist(world.decide(threads[1], pause_id))  # it pays after its third gate
    rounds = [("pay", 0, "twice fan"), ("pay_two", 1, "twice fan"), ("pay", 2, "fan three")]
    for node, number, kinds in rounds:
        chosen = [thread for thread in threads if thread.kind in kinds]
        worker = await _kill_inside(world, worker, chosen, node, number)
    verdict = await world.kept()
    assert len(verdict.again) == 6


async def _kill_inside(
    world: World, worker: Replica, threads: list[Thread], node: str, number: int
) -> Replica:
    async with AsyncExitStack() as holds:
        for thread in threads:
            pays = node if thread.kind == "twice" else "pay"
            pause_id = await world.next_pause(thread, after=number)
            hold = await holds.enter_async_context(
                world.database.hold(f"after_{pays}", thread.thread_id)
            )
            await world.insist(world.decide(thread, pause_id))
            assert (await hold.reached()).process == worker.name
        await world.kill(worker.name)
    replacement = await world.start("worker", RESUMER_CONCURRENCY=CONCURRENCY)
    assert await world.quiet()
    return replacement


async def test_killed_while_sweeping(world: World) -> None:
    """A worker that dies in the sweep takes neither the sweep nor the work of the dead with it."""
    await world.start("web")
    first = await world.start("worker", RESUMER_RECONCILE_SECONDS="0")
    thread = await world.hibernate("pay")
    async with world.database.hold("gate", thread.thread_id) as hold:
        await world.approve([thread])
        assert (await hold.reached()).process == first.name
        await world.kill(first.name)
    async with world.database.hold("job_done", "reconcile") as hold:
        second = await world.start("worker", RESUMER_RECONCILE_SECONDS="1")
        blocked = await hold.reached()
        assert blocked.process == second.name
        await world.kill(second.name)
        await world.database.terminate(blocked.backend)
    third = await world.start("worker", RESUMER_RECONCILE_SECONDS="1")
    await world.kept()
    while "'task': 'reconcile'" not in third.text() and '"task": "reconcile"' not in third.text():
        await asyncio.sleep(0.2)  # its sweep is handed back; the test's own time limit ends this


async def test_killed_while_sweeping_beside_another_worker(world: World) -> None:
    """The living worker has enqueued the next sweep already: both must not wait for each other."""
    await world.start("worker", RESUMER_RECONCILE_SECONDS="1")
    await world.start("worker", RESUMER_RECONCILE_SECONDS="1")
    async with world.database.hold("job_done", "reconcile") as hold:
        blocked = await hold.reached()
        await asyncio.sleep(2.5)  # time for the next sweep to be enqueued
        await world.kill(blocked.process)
        await world.database.terminate(blocked.backend)
    swept_at: LiteralString = "select swept_at from resumer.sweeps"
    before = await world.database.value(swept_at)
    async with asyncio.timeout(15):
        while await world.database.value(swept_at) == before:
            await asyncio.sleep(0.2)
