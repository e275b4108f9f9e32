"""The thread lock: one holder over all processes, and none after its connection died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest

from resumer.errors import LockLost, PoolerRefused
from resumer.locks import ThreadLocks


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[tuple[ThreadLocks, ThreadLocks]]:
    """Two processes' locks, as the database sees them."""
    async with AsyncExitStack() as stack:
        locks = [ThreadLocks(database_url, check_seconds=0.05) for _ in range(2)]
        for lock in locks:
            await stack.enter_async_context(lock.running())
        yield locks[0], locks[1]


async def test_only_one_process_holds_a_thread(two: tuple[ThreadLocks, ThreadLocks]) -> None:
    """While one holds the thread the other does not get it, and gets it afterwards."""
    ours, theirs = two
    async with ours.hold("t1", patience=1) as held:
        assert held
        async with theirs.hold("t1", patience=0.2) as also:
            assert not also
    async with theirs.hold("t1", patience=1) as held:
        assert held


async def test_runs_of_one_process_take_turns(two: tuple[ThreadLocks, ThreadLocks]) -> None:
    """The server would give one session the lock twice: the process keeps its own runs apart."""
    ours, theirs = two
    inside: list[int] = []

    async def run() -> None:
        async with ours.hold("t1", patience=5) as held:
            assert held
            inside.append(1)
            assert len(inside) == 1
            await asyncio.sleep(0.02)
            inside.pop()

    await asyncio.gather(*(run() for _ in range(3)))
    async with theirs.hold("t1", patience=0.2) as held:
        assert held


async def test_one_thread_does_not_take_up_every_slot(
    two: tuple[ThreadLocks, ThreadLocks],
) -> None:
    """Beyond two that wait in line the next is sent away at once."""
    ours, _ = two

    async def run() -> bool:
        async with ours.hold("t1", patience=5) as held:
            await asyncio.sleep(0.05 if held else 0)
            return held

    assert sorted(await asyncio.gather(*(run() for _ in range(10)))) == [False] * 7 + [True] * 3


async def test_a_run_that_waits_too_long_for_its_turn_gives_up(
    two: tuple[ThreadLocks, ThreadLocks],
) -> None:
    """Patience ends within one process too, and leaves the holder alone."""
    ours, _ = two
    async with ours.hold("t1", patience=1) as held:
        assert held
        async with ours.hold("t1", patience=0.1) as also:
            assert not also


async def test_other_threads_are_free(two: tuple[ThreadLocks, ThreadLocks]) -> None:
    """A lock on one thread stands in nobody's way on another."""
    ours, theirs = two
    async with ours.hold("t1", patience=1), theirs.hold("t2", patience=0.5) as held:
        assert held


async def test_a_lock_outlives_its_connection(
    database_url: str, two: tuple[ThreadLocks, ThreadLocks]
) -> None:
    """The lock is taken again on a new connection, and the run under it never notices."""
    ours, theirs = two
    async with ours.hold("t1", patience=1):
        _terminate_lock_holders(database_url)
        await asyncio.sleep(0.5)
        async with theirs.hold("t1", patience=0.1) as held:
            assert not held
    async with theirs.hold("t1", patience=1) as held:
        assert held


async def test_a_run_whose_thread_somebody_else_took_is_stopped(database_url: str) -> None:
    """Between the connection's death and the next one the thread may go to another process."""
    slow = ThreadLocks(database_url, check_seconds=0.3)
    quick = ThreadLocks(database_url, busy_seconds=0.02)
    async with slow.running(), quick.running():
        reached = asyncio.Event()
        stopped: list[str] = []

        async def run() -> None:
            async with slow.hold("t1", patience=1):
                reached.set()
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    stopped.append("run")
                    raise

        task = asyncio.create_task(run())
        await reached.wait()
        _terminate_lock_holders(database_url)
        async with quick.hold("t1", patience=0.5) as held:
            assert held
            with pytest.raises(LockLost):
                await asyncio.wait_for(task, 5)
        assert stopped == ["run"]
        async with slow.hold("t1", patience=1) as held:
            assert held


async def test_a_run_without_a_lock_for_long_is_stopped(
    database_url: str, two: tuple[ThreadLocks, ThreadLocks]
) -> None:
    """While the database is away a run goes on for a while only."""
    ours, _ = two
    ours.grace_seconds = 0.3
    task = await _running_under(ours)
    url, ours.url = ours.url, "postgresql://127.0.0.1:1/nothing"
    _terminate_lock_holders(database_url)
    with pytest.raises(LockLost):
        await asyncio.wait_for(task, 5)
    ours.url = url
    async with ours.hold("t1", patience=2) as held:
        assert held


async def _running_under(locks: ThreadLocks) -> asyncio.Task[None]:
    """A run that holds the lock until it is stopped; it has the lock when this returns."""
    reached = asyncio.Event()

    async def run() -> None:
        async with locks.hold("t1", patience=1):
            reached.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(run())
    await reached.wait()
    return task


def _terminate_lock_holders(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        killed = connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        ).fetchall()
    assert killed == [(True,)]


async def test_cancelled_while_it_asks_leaves_no_lock(
    two: tuple[ThreadLocks, ThreadLocks],
) -> None:
    """Whoever is cancelled at any moment of asking for the lock leaves it to others."""
    ours, theirs = two

    async def run() -> None:
        async with ours.hold("t1", patience=1):
            await asyncio.sleep(30)

    for delay in (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005):
        task = asyncio.create_task(run())
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with theirs.hold("t1", patience=1) as held:
            assert held


async def test_a_cancelled_run_lets_go(two: tuple[ThreadLocks, ThreadLocks]) -> None:
    """Cancellation from outside stays a cancellation, and the lock is given back."""
    ours, theirs = two
    task = await _running_under(ours)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with theirs.hold("t1", patience=1) as held:
        assert held


@pytest.mark.pgbouncer
async def test_a_transaction_pooler_is_refused_with_advice(pgbouncer: dict[str, str]) -> None:
    """Behind a pooler that lends the session to others a lock would not hold."""
    with pytest.raises(PoolerRefused, match=r"transaction mode.*direct connection"):
        async with ThreadLocks(pgbouncer["transaction"]).running():
            pass


@pytest.mark.pgbouncer
async def test_a_session_pooler_is_let_through(pgbouncer: dict[str, str]) -> None:
    """A pooler in session mode keeps the session, and with it the lock."""
    locks = ThreadLocks(pgbouncer["session"])
    async with locks.running(), locks.hold("t1", patience=1) as held:
        assert held
