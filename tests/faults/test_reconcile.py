"""Webhooks that never come, and pauses that nobody answers."""

from __future__ import annotations

import pytest

from .harness import World

pytestmark = pytest.mark.faults

SWEEP = {"RESUMER_RECONCILE_SECONDS": "2"}


async def test_webhooks_that_never_come(world: World) -> None:
    """A decision that was made and never delivered is fetched and resumes its thread."""
    await world.start("web")
    await world.start("worker", **SWEEP)
    threads = await world.hibernate_many(5)
    for thread in threads:
        proof = world.decide(thread)
        if thread is not threads[0]:
            await world.insist(proof)
    assert world.looppause.seen == {202: 4}
    await world.kept(within=40)


async def test_pauses_that_expire(world: World) -> None:
    """Nobody answers in time: the thread goes on with a denial and pays nothing."""
    await world.start("worker", **SWEEP)
    threads = await world.hibernate_many(3)
    for thread in threads:
        world.looppause.fake.expire(world.pauses(thread)[0])
        thread.decisions[world.pauses(thread)[0]] = "expired"
    verdict = await world.kept(within=40)
    assert verdict.executed == 0


async def test_looppause_away(world: World) -> None:
    """LoopPause answering 503 delays what was missed, and nothing else."""
    await world.start("web")
    worker = await world.start("worker", **SWEEP)
    missed, delivered = await world.hibernate_many(2)
    world.decide(missed)
    world.looppause.fake.fail_next(503, times=3)
    await world.insist(world.decide(delivered))
    await world.kept(within=50)
    assert worker.alive
