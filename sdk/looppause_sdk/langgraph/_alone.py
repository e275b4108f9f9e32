"""One run of a gated call at a time in this process.

A node that fails while one of its calls is still at work forgets that call (an asyncio.gather
does), and may be run again before it has ended. What the first run leaves behind is what the second
one finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from threading import Lock, get_ident

__all__ = ["Place", "alone", "alone_in_loop", "until_calls_end"]

# A thread, and the namespace of the call in it.
Place = tuple[str, str]


@dataclass
class _Running:
    thread: int = field(default_factory=get_ident)
    ended: Future[None] = field(default_factory=Future)


_guard = Lock()
_running: dict[Place, _Running] = {}


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """Run what is inside when no other run of this call is under way."""
    while (other := _taken(place)) is not None:
        if other.thread == get_ident():  # a coroutine of this very thread could not end meanwhile
            break
        other.ended.result()
    with _until_done(place):
        yield


@asynccontextmanager
async def alone_in_loop(place: Place) -> AsyncIterator[None]:
    """`alone` for coroutines."""
    while (other := _taken(place)) is not None:
        await _end_of(other)
    with _until_done(place):
        yield


async def until_calls_end(thread_id: str) -> None:
    """Wait for the gated calls of a thread that its last run has left at work."""
    with _guard:
        left = [running for (thread, _), running in _running.items() if thread == thread_id]
    for running in left:
        await _end_of(running)


async def _end_of(running: _Running) -> None:
    await asyncio.shield(asyncio.wrap_future(running.ended))


def _taken(place: Place) -> _Running | None:
    """The run that is under way; None if it is ours from now on."""
    with _guard:
        if other := _running.get(place):
            return other
        _running[place] = _Running()
    return None


@contextmanager
def _until_done(place: Place) -> Iterator[None]:
    try:
        yield
    finally:
        with _guard:
            running = _running.pop(place, None)
        if running is not None:
            running.ended.set_result(None)
