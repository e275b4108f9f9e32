"""A run in an event loop of its own: it may block, end badly or be told to stop."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from resumer.own_loop import in_own_loop


async def test_what_blocks_there_leaves_our_loop_alone() -> None:
    """Ours goes on while theirs stands still."""
    turns = 0

    async def block() -> str:
        time.sleep(0.2)  # noqa: ASYNC251  # on purpose
        return "done"

    run = asyncio.create_task(in_own_loop(block))
    while not run.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert (await run, turns > 5) == ("done", True)


async def test_what_it_raises_is_raised_here() -> None:
    """With its own type and text."""

    async def fail() -> None:
        raise LookupError("no such refund")

    with pytest.raises(LookupError, match="no such refund"):
        await in_own_loop(fail)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_would_end_us_is_an_error_of_the_run(error: BaseException) -> None:
    """Handed on as it is, it would stop the worker that waits for the run."""

    async def leave() -> None:
        raise error

    with pytest.raises(RuntimeError, match=f"ended itself: {type(error).__name__}"):
        await in_own_loop(leave)


async def test_told_to_stop_it_leaves_only_when_all_has_ended() -> None:
    """A coroutine is cancelled; a thread that it waits for cannot be, and is waited for."""
    started, ended = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        time.sleep(0.3)
        ended.set()

    async def run() -> None:
        await asyncio.to_thread(work)
        raise AssertionError("it was not cancelled")

    task = asyncio.create_task(in_own_loop(run))
    await asyncio.to_thread(started.wait)
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_told_to_stop_before_it_began_it_does_nothing() -> None:
    """A run that is cancelled at once leaves at once."""

    async def run() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(in_own_loop(run))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_context_variables_are_there() -> None:
    """What the log is bound to is bound there too."""
    name: ContextVar[str] = ContextVar("name")
    name.set("refund-1")

    async def read() -> str:
        return name.get()

    assert await in_own_loop(read) == "refund-1"
