"""A worker that stands still for longer than the stall timeout, and then goes on."""

from __future__ import annotations

import asyncio

import pytest

from .harness import World

pytestmark = pytest.mark.faults

# Where the worker stands still: while it holds the thread, and once the outcome is stored.
POINTS = [
    ("gate", True),
    ("before_pay", True),
    ("after_pay", True),
    ("outcome", True),
    ("job_done", False),
]


async def test_stalled_worker_doubles_nothing(world: World) -> None:
    """Others may take its jobs, not its threads: what it had begun, it ends itself."""
    await world.start("web")
    stalled = await world.start("worker", RESUMER_CONCURRENCY="20")
    threads = []
    holds = []
    for point, by_thread in POINTS:
        thread = await world.hibernate("pay")
        name = thread.thread_id if by_thread and point != "outcome" else world.pauses(thread)[0]
        hold = world.database.hold(point, name)
        holds.append(hold)
        held = await hold.__aenter__()
        await world.approve([thread])
        assert (await held.reached()).process == stalled.name
        threads.append(thread)
    await stalled.stall()
    other = await world.start("worker")
    for hold in holds:
        await hold.__aexit__(None, None, None)
    await _taken_over(world)
    assert "orphan_handed_back" in other.text()
    stalled.go_on()
    verdict = await world.kept()
    assert verdict.again == []
    assert stalled.alive


async def _taken_over(world: World) -> None:
    """Wait until the jobs of the stalled worker have been given to others."""
    async with asyncio.timeout(20):
        while await world.database.value(
            "select count(*) from resumer.procrastinate_jobs where status = 'doing'"
            " and task_name = 'resume' and worker_id in (select min(id) from"
            " resumer.procrastinate_workers)"
        ):
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.5)
