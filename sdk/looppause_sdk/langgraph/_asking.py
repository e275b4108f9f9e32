"""Ask inside a LangGraph task, so that a gate that is resumed finds its pause in the memo.

LangGraph gives a task a place beside the nodes: a thread of the run's or the event loop's executor
and, with `max_concurrency`, a slot. Gates that held all the places while each waited for a task of
its own would wait for ever. So a request needs no thread of theirs where that can be had, and a
gate whose task finds no place sends the request itself: the task, once the gate has hibernated and
made room, takes what came of it and leaves the memo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from threading import Lock
from typing import Any

from langgraph.config import get_config
from langgraph.func import task

from looppause_sdk.errors import GateError
from looppause_sdk.gate import Question

from ._threads import in_pool

__all__ = ["Ask", "AsyncAsk", "Memo", "aremembered", "remembered"]

Memo = dict[str, Any]

# What LangGraph takes at most to find a memo, or to start a task it has a place for. Too short
# costs a request with the same idempotency key, and so the same pause; too long costs time.
START_SECONDS = 0.05
LOOP_SECONDS = 0.5
LOOP_TURNS = 50


class Ask:
    """One request for a pause, sent by a thread: the task's, or the gate's if that comes first."""

    def __init__(self, send: Callable[[Question], Memo]) -> None:
        self.begun = False
        self._send = send
        self._lock = Lock()
        self._memo: Memo | None = None

    def now(self, question: Question) -> Memo:
        """Send it unless that has been done. Raises what sending raises."""
        self.begun = True
        with self._lock:
            if self._memo is None:
                self._memo = self._send(question)
            return self._memo

    async def later(self, question: Question) -> Memo:
        """As `now`, but the event loop goes on meanwhile."""
        self.begun = True
        return await in_pool(self.now, question)


class AsyncAsk:
    """One request for a pause, sent by a coroutine: the task's, or the gate's."""

    def __init__(self, send: Callable[[Question], Awaitable[Memo]]) -> None:
        self.begun = False
        self._send = send
        self._lock = asyncio.Lock()
        self._memo: Memo | None = None

    async def later(self, question: Question) -> Memo:
        """Send it unless that has been done. Raises what sending raises."""
        self.begun = True
        async with self._lock:
            if self._memo is None:
                self._memo = await self._send(question)
            return self._memo


def remembered(question: Question, ask: Ask) -> Memo:
    """The memo of this visit, for a gate that blocks; asks first if there is none.

    Raises `GateError` inside a coroutine, and what sending raises.
    """
    try:
        future, patience = _start_later(question, ask), LOOP_SECONDS if _has_slots() else None
    except RuntimeError:  # under `invoke`, where LangGraph takes no async task
        try:
            future, patience = _start_now(question, ask), START_SECONDS
        except RuntimeError as error:
            if _GREW not in str(error):
                raise
            return ask.now(question)
    if isinstance(future, asyncio.Future):
        future.cancel()
        raise GateError(
            "a gate with a LoopPauseClient was called inside a coroutine, which it would block: "
            "use AsyncLoopPauseClient there, or give the gate a node of its own"
        )
    wait([future], timeout=patience)
    memo: Memo = future.result() if future.done() or ask.begun else ask.now(question)
    return memo


async def aremembered(question: Question, ask: Ask | AsyncAsk) -> Memo:
    """`remembered` for a gate that is a coroutine: it holds no thread."""
    future = _start_later(question, ask)
    started = not _has_slots() or await _has_started(future, ask)
    memo: Memo = await (future if started else ask.later(question))
    return memo


# LangGraph finds the memo by the task's name and its place among the node's tasks. Both forms
# share them, so that a thread may hibernate in one and be resumed in the other.


# What Python says when LangGraph reads its list of tasks in one thread while a gate of another adds
# one to it. Nothing was sent then.
_GREW = "changed size during iteration"


def _start_now(question: Question, ask: Ask) -> Any:
    @task
    def looppause_ask(question: Question) -> Memo:
        return ask.now(question)

    return looppause_ask(question)


def _start_later(question: Question, ask: Ask | AsyncAsk) -> Any:
    @task
    async def looppause_ask(question: Question) -> Memo:
        return await ask.later(question)

    return looppause_ask(question)


async def _has_started(future: asyncio.Future[Memo], ask: Ask | AsyncAsk) -> bool:
    for _ in range(LOOP_TURNS):
        if future.done() or ask.begun:
            return True
        await asyncio.sleep(0)
    return False


def _has_slots() -> bool:
    return bool(get_config().get("max_concurrency"))
