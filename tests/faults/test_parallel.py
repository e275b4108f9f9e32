"""Several gates of one thread, and siblings that are still at work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .harness import World
from .nursery import run_module
from .verdict import Thread

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("kind", ["three", "fan"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_gates_approved_in_the_same_moment(world: World, kind: str, workers: int) -> None:
    """All gates of a thread approved at once are all resumed, and the thread finishes."""
    await world.start("web")
    for _ in range(workers):
        await world.start("worker")
    threads = [await world.hibernate(kind, asking=0.05) for _ in range(4)]
    proofs = [
        world.decide(thread, pause_id) for thread in threads for pause_id in world.pauses(thread)
    ]
    assert len(proofs) == 12
    await asyncio.gather(*map(world.insist, proofs))
    await world.kept()


@pytest.mark.parametrize("kind", ["three", "fan"])
async def test_gates_approved_one_inside_the_other(world: World, kind: str) -> None:
    """Approvals that come while an earlier one of the thread runs or waits run one by one."""
    await world.start("web")
    await world.start("worker")
    thread = await world.hibernate(kind, slow=0.4, branches=6)
    for pause_id in world.pauses(thread):
        await world.insist(world.decide(thread, pause_id))
        await asyncio.sleep(0.25)
    await world.kept()
    assert not await _overlaps(world, thread)


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_sibling_still_running_in_the_agents_process(world: World, durability: str) -> None:
    """A thread is not resumed beside its own sibling: that would run the sibling twice."""
    await world.start("web")
    await world.start("worker")
    thread = world.new_thread("beside")
    running = asyncio.create_task(world.run(thread, durability=durability, beside=1.5))
    pause_id = await world.next_pause(thread, after=0)
    await world.insist(world.decide(thread, pause_id))
    await asyncio.sleep(1.0)
    assert not running.done()
    await running
    await world.kept(within=10)


async def test_agents_process_killed_beside_a_running_sibling(world: World, tmp_path: Path) -> None:
    """After the grace period the thread goes on; only the sibling that died runs once more."""
    await world.start("web")
    await world.start("worker", RESUMER_SETTLE_SECONDS="2")
    thread = world.new_thread("beside")
    env = {"RESUMER_DATABASE_URL": world.database.url, **world.looppause.env, "PGAPPNAME": "agent"}
    async with world.database.hold("after_sibling", thread.thread_id) as hold:
        arguments = ("beside", thread.thread_id, "{}")
        agent = run_module("tests.faults.agents", arguments, env, tmp_path / "agent.log")
        try:
            assert (await hold.reached()).process == "agent"
            await world.insist(world.decide(thread, await world.next_pause(thread, after=0)))
        finally:
            agent.kill()
            agent.wait()
        world.cut(agent.pid)
    verdict = await world.kept(within=15)
    assert len(verdict.again) == 1


async def _overlaps(world: World, thread: Thread) -> list[dict[str, object]]:
    return await world.database.rows(
        "select a.id, b.id as other from faults.ledger a join faults.ledger b using (thread_id)"
        " where thread_id = %s and a.id < b.id and b.started_at < a.ended_at",
        (thread.thread_id,),
    )
