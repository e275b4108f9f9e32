"""Threads of the SDK's own, for blocking calls that must not depend on a free thread elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from threading import Thread
from typing import TypeVar

from langchain_core.runnables.config import run_in_executor
from typing_extensions import ParamSpec

__all__ = ["in_loop_thread", "in_own_thread", "in_pool"]

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 32


async def in_pool(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a request, a matter of seconds, in a thread that nobody but requests can hold."""
    return await run_in_executor(_pool(os.getpid()), _here(call, *args, **kwargs))


async def in_own_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what may wait for days in a thread made for it, which does not keep the process alive."""
    return await run_in_executor(_OwnThread(), _here(call, *args, **kwargs))


async def in_loop_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the agent's own code where LangGraph runs its sync nodes: the event loop's executor."""
    return await run_in_executor(None, call, *args, **kwargs)


def _here(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    # With the caller's context variables, which only the loop's own executor is given.
    return partial(copy_context().run, call, *args, **kwargs)


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    # One for each process: a fork inherits the pool, but none of its threads.
    return ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="looppause-ask")


class _OwnThread(Executor):
    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # raised where it is awaited
                outcome.set_exception(error)
            else:
                outcome.set_result(result)

        outcome.set_running_or_notify_cancel()
        Thread(target=run, name="looppause-wait", daemon=True).start()
        return outcome
