"""Graphs that raise."""

from __future__ import annotations

import pytest

from .harness import World
from .storm import retry_parked

pytestmark = pytest.mark.faults


async def test_graph_that_raises_sometimes(world: World) -> None:
    """It is tried again by the policy until it goes through; the action runs once."""
    await world.start("web")
    await world.start("worker")
    threads = await world.hibernate_many(4, raises=2)
    await world.approve(threads)
    await world.kept(within=15)
    raised = "select count(*) from faults.attempts where node = 'pay'"
    assert await world.database.value(raised) == 3 * len(threads)


async def test_graph_that_always_raises(world: World) -> None:
    """It is parked with its error after the last delay, and nothing of it is lost."""
    await world.start("web")
    await world.start("worker")
    thread = await world.hibernate("pay", raises=1000)
    other = await world.hibernate("pay")
    await world.approve([thread, other])
    verdict = await world.verdict(within=15)
    (parked,) = verdict.unfinished
    assert "is parked: the graph raised 4 times" in parked
    assert "RuntimeError: the provider is down (attempt 4)" in parked
    assert [lost.split()[1] for lost in verdict.lost] == [thread.thread_id] * 2
    assert not verdict.doubled
    assert not verdict.opened
    assert not verdict.jobs


async def test_parked_and_retried_by_hand(world: World) -> None:
    """What was parked is kept, and goes through once its graph is mended and a person retries."""
    await world.start("web")
    await world.start("worker")
    thread = await world.hibernate("pay", raises=4)
    await world.approve([thread])
    assert await world.quiet(within=15)
    assert await retry_parked(world) == world.pauses(thread)
    await world.kept(within=15)
    assert await retry_parked(world) == []
