"""Every replica is replaced, one after another, while decisions come in."""

from __future__ import annotations

import asyncio

import pytest

from .harness import World

pytestmark = pytest.mark.faults


async def test_rolling_restart_under_load(world: World) -> None:
    """SIGTERM each replica in turn and start it again: every one leaves cleanly and in time."""
    for kind in ("web", "web", "worker", "worker"):
        await world.start(kind)
    threads = await world.hibernate_many(24, slow=0.2)
    proofs = [world.decide(thread) for thread in threads]
    delivering = asyncio.create_task(_trickle(world, proofs))
    for replica in list(world.replicas):
        assert await replica.terminate(within=10) == 0, replica.tail()
        await replica.start()
    await delivering
    verdict = await world.kept()
    assert verdict.again == []


async def test_terminated_worker_hands_back_what_does_not_end(world: World) -> None:
    """A run longer than the drain bound is stopped at it, and another worker ends it."""
    await world.start("web")
    worker = await world.start("worker", RESUMER_DRAIN_SECONDS="1")
    thread = await world.hibernate("pay", slow=4)
    async with world.database.hold("before_pay", thread.thread_id) as hold:
        await world.approve([thread])
        assert (await hold.reached()).process == worker.name
    leaving = asyncio.create_task(worker.terminate(within=8))
    await asyncio.sleep(1)
    world.cut(worker.pid)
    await world.start("worker")
    await leaving
    await world.kept()


async def _trickle(world: World, proofs: list[dict[str, object]]) -> None:
    for proof in proofs:
        await world.insist(proof)
        await asyncio.sleep(0.1)
