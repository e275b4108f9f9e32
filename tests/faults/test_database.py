"""The database crashes, or cuts single connections, while threads are being resumed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import LiteralString

import pytest

from .cluster import cluster
from .harness import World, attacked
from .nursery import Nursery

pytestmark = pytest.mark.faults


async def test_crash_under_load(tmp_path: Path, forks: Nursery) -> None:
    """`stop -m immediate` in the middle of resumes and deliveries: 503 meanwhile, nothing lost."""
    async with (
        cluster(tmp_path / "pg") as server,
        attacked(server.url, tmp_path, spawn=forks) as world,
    ):
        for kind in ("web", "web", "worker", "worker"):
            await world.start(kind)
        threads = await world.hibernate_many(16, slow=0.3)
        proofs = [world.decide(thread) for thread in threads]
        first = asyncio.gather(*(world.insist(proof) for proof in proofs[:10]))
        async with asyncio.timeout(20):
            while not await world.database.value("select count(*) from faults.ledger"):
                await asyncio.sleep(0.02)
        await server.crash()
        world.cut()
        late = [asyncio.create_task(world.insist(proof)) for proof in proofs[10:]]
        away = await asyncio.gather(*(world.looppause.post(web, proofs[10]) for web in world.webs))
        assert [answer.status for answer in away] == [503, 503]
        await server.start()
        await first
        await asyncio.gather(*late)
        await world.kept(within=40)
        assert all(replica.alive for replica in world.replicas)
        assert {202, 503} <= set(world.looppause.seen)


async def test_random_connections_cut_under_load(world: World) -> None:
    """Sessions of all replicas are terminated, a few at a time, for as long as there is work."""
    for kind in ("web", "web", "worker", "worker"):
        await world.start(kind)
    threads = await world.hibernate_many(16, slow=0.1)
    threads += await world.hibernate_many(2, "fan", slow=0.1)
    proofs = [world.decide(thread, name) for thread in threads for name in world.pauses(thread)]
    delivering = asyncio.gather(*map(world.insist, proofs))
    ended = 0
    for _ in range(25):
        sessions = await world.database.sessions()
        for session in world.random.sample(sessions, min(3, len(sessions))):
            query = "select pg_terminate_backend(%s)"
            ended += await world.database.value(query, (session.backend,))
            world.cut(world.replica(session.process).pid)
        await asyncio.sleep(0.15)
    await delivering
    assert ended > 30
    await world.kept(within=40)
    assert all(replica.alive for replica in world.replicas)


@pytest.mark.parametrize("point", ["gate", "write", "outcome", "job_done"])
async def test_lock_connection_cut_during_a_run(world: World, point: str) -> None:
    """The run under it is stopped and found again; two workers never run the thread at once."""
    await world.start("web")
    await world.start("worker")
    await world.start("worker")
    thread = await world.hibernate("pay")
    name = world.pauses(thread)[0] if point in ("outcome", "job_done") else thread.thread_id
    async with world.database.hold(point, name) as hold:
        await world.approve([thread])
        blocked = await hold.reached()
        holders = await world.database.lock_holders(thread.thread_id)
        if point != "job_done":
            assert [found.process for found in holders] == [blocked.process]
        for found in holders:
            await world.database.terminate(found.backend)
        world.cut(world.replica(blocked.process).pid)
        await asyncio.sleep(1)
    await world.kept()


@pytest.mark.parametrize("point", ["job_done", "job_again", "outcome", "begin", "write"])
async def test_connection_cut_in_one_statement(world: World, point: str) -> None:
    """The statement that notes something fails; the worker lives on and the work is not stuck."""
    await world.start("web")
    worker = await world.start("worker")
    raises = 1 if point == "job_again" else 0
    thread = await world.hibernate("pay", raises=raises)
    name = thread.thread_id if point == "write" else world.pauses(thread)[0]
    async with world.database.hold(point, name) as hold:
        await world.approve([thread])
        blocked = await hold.reached()
        assert blocked.process == worker.name
        await world.database.terminate(blocked.backend)
        world.cut(worker.pid)
    await world.kept()
    assert worker.alive


async def test_lock_cut_while_a_node_runs_in_a_thread(world: World) -> None:
    """A node that cannot be cancelled does not act after another worker has taken the thread."""
    await world.start("web")
    await world.start("worker")
    await world.start("worker")
    thread = await world.hibernate("fan")
    first, second, third = world.pauses(thread)
    async with world.database.hold("before_pay", thread.thread_id) as hold:
        await world.insist(world.decide(thread, first))
        blocked = await hold.reached()
        (holder,) = await world.database.lock_holders(thread.thread_id)
        await world.insist(world.decide(thread, second))
        await world.insist(world.decide(thread, third))
        await world.database.terminate(holder.backend)
        world.cut(world.replica(holder.process).pid)
        await asyncio.sleep(2)
        assert blocked in await hold.blocked()
    await world.kept()


async def test_queue_cut_off_while_a_long_node_runs(world: World) -> None:
    """The queue's connections die, the thread's lock and the node do not: the run goes on."""
    await world.start("web")
    worker = await world.start("worker", RESUMER_DRAIN_SECONDS="1")
    thread = await world.hibernate("pay", slow=5)
    await world.approve([thread])
    async with asyncio.timeout(20):
        while not await world.database.value("select count(*) from faults.ledger"):
            await asyncio.sleep(0.02)
    (lock,) = await world.database.lock_holders(thread.thread_id)
    others: LiteralString = (
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
        " and datname = current_database() and pid <> %s and query not like '%%faults.ledger%%'"
    )
    for _ in range(10):
        await world.database.rows(others, (worker.name, lock.backend))
        await asyncio.sleep(0.1)
    verdict = await world.kept()
    assert verdict.again == []
