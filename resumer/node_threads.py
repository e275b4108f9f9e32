"""Threads for synchronous nodes: they cannot be stopped, so whoever stops a run waits for them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from .telemetry import get_logger

__all__ = ["NodeThreads", "end_by_force", "until_nodes_end"]

T = TypeVar("T")

_NODES: ContextVar[set[Future[Any]] | None] = ContextVar("resumer_nodes", default=None)

log = get_logger()


class NodeThreads(ThreadPoolExecutor):
    """An executor that knows which of its threads work for which run.

    Made the default executor of an event loop that is ours, it sees every synchronous node.
    Larger than Python's own: a node that waits for a task of its own holds two threads.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, thread_name_prefix="node")

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` in a thread, on behalf of the run whose context this is."""
        future = super().submit(fn, *args, **kwargs)
        nodes = _NODES.get()
        if nodes is not None:
            nodes.add(future)
            future.add_done_callback(nodes.discard)
        return future


@asynccontextmanager
async def until_nodes_end() -> AsyncIterator[None]:
    """A run that may be cancelled: leave only once no thread works for it any more.

    Left earlier, the same node could be started again, here or elsewhere, beside itself.
    """
    nodes: set[Future[Any]] = set()
    token = _NODES.set(nodes)
    try:
        yield
    except asyncio.CancelledError:
        await _ended(nodes)
        raise
    finally:
        _NODES.reset(token)


def end_by_force(seconds: float) -> None:
    """End the process in so many seconds, should a node's thread keep it from ending before.

    What the node was doing is then found as after any crash, once its lock is gone with us.
    """

    def end() -> None:
        log.error("ended_by_force", after_seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


async def _ended(nodes: set[Future[Any]]) -> None:
    while running := [future for future in tuple(nodes) if not future.done()]:
        log.warning("waiting_for_nodes", threads=len(running))
        try:
            await asyncio.wait([asyncio.wrap_future(future) for future in running])
        except asyncio.CancelledError:
            continue  # asked again to stop: the thread still cannot
