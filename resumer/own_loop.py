"""An event loop of its own for a run that may block it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Generic, TypeVar

__all__ = ["in_own_loop"]

T = TypeVar("T")


async def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread with a loop of its own: whatever blocks there, ours goes on.

    Cancelled, it cancels the coroutine, and leaves once that and all threads it uses have ended.
    """
    run = _Run(work)
    context = copy_context()
    threading.Thread(target=context.run, args=(run,), name="flow", daemon=True).start()
    ended = asyncio.wrap_future(run.ended)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        run.cancel()
        await _until(ended)
        raise


class _Run(Generic[T]):
    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.ended: Future[T] = Future()
        self._work = work
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._cancel: Callable[[], object] | None = None

    def __call__(self) -> None:
        try:
            result = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  # raised where it is awaited
            self.ended.set_exception(self._own(error))
        else:
            self.ended.set_result(result)

    def cancel(self) -> None:
        with self._lock:
            self._is_cancelled = True
            if self._cancel is not None:
                with suppress(RuntimeError):  # its loop is closed: it has ended by itself
                    self._cancel()

    async def _main(self) -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        with self._lock:
            if self._is_cancelled:
                raise asyncio.CancelledError
            if task is not None:
                self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        return await self._work()

    def _own(self, error: BaseException) -> BaseException:
        if isinstance(error, Exception) or self._is_cancelled:
            return error
        # Handed on as it is, it would look as if we had been told to stop.
        return RuntimeError(f"the run ended itself: {type(error).__name__}: {error}")


async def _until(ended: asyncio.Future[Any]) -> None:
    while not ended.done():
        with suppress(asyncio.CancelledError):  # asked again to stop: the thread still cannot
            await asyncio.wait([ended])
    if not ended.cancelled():
        ended.exception()  # read, so that nobody is told that it was not
