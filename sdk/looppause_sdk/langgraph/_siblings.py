"""The gated calls that one execution of a node makes beside each other.

A node that calls several tools at once stops at the first that raises, and forgets the others: an
asyncio.gather leaves them running behind its back. So a gated call that hibernates or fails waits
for those beside it, and then all that hibernate say so with one voice.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from threading import Lock, get_ident
from time import sleep
from weakref import WeakSet

from langgraph.errors import GraphInterrupt, is_invalid_resume
from langgraph.types import Interrupt

__all__ = ["Siblings", "beside", "beside_others"]

_ATTRIBUTE = "looppause_siblings"

# A ToolNode's thread pool drops the calls it has not started when one hibernates: they would miss
# an answer meant for them. Time enough to start them all, unless `max_concurrency` forbids it.
START_SECONDS = 0.01

_guard = Lock()


class Siblings:
    """The gated calls of one execution of a node."""

    def __init__(self) -> None:
        self._active = 0
        self._names: Counter[tuple[str, ...]] = Counter()
        self._interrupts: dict[str, Interrupt] = {}
        self._voices: WeakSet[GraphInterrupt] = WeakSet()
        self._refusal: BaseException | None = None
        self._idle: Future[None] = Future()
        self._loop_thread: int | None = None

    @classmethod
    def of(cls, execution: object, attempt: int) -> Siblings:
        """Those of this attempt at an execution, which is an object that lives as long as it.

        A retry policy runs the node again in the same execution: its calls are the same ones, so
        they must not be counted on.
        """
        with _guard:
            attempts: dict[int, Siblings] = vars(execution).setdefault(_ATTRIBUTE, {})
            return attempts.setdefault(attempt, cls())

    def name(self, *wanted: str) -> str:
        """`wanted` as one name, told apart from the calls of the same name that came before."""
        with _guard:
            self._names[wanted] += 1
            return json.dumps([*wanted, self._names[wanted]])

    def join(self, *, in_loop: bool = False) -> None:
        """One more call is under way."""
        with _guard:
            if in_loop:
                self._loop_thread = get_ident()
            if self._active == 0:
                self._idle = Future()
            self._active += 1

    def leave(self, error: BaseException | None) -> None:
        """One call has ended, perhaps in an interrupt."""
        with _guard:
            if isinstance(error, GraphInterrupt):
                self._interrupts.update({found.id: found for found in error.args[0]})
                for voice in self._voices:  # one that stopped before this call had begun
                    voice.args = (tuple(self._interrupts.values()),)
            elif error is not None and is_invalid_resume(error):
                self._refusal = error
            self._active -= 1
            if self._active == 0:
                self._idle.set_result(None)

    def wait(self) -> None:
        """Until no call is under way. A coroutine of this very thread could not end meanwhile."""
        if self._loop_thread != get_ident():
            self._idle.result()

    async def until_idle(self) -> None:
        """`wait` for a coroutine."""
        await asyncio.shield(asyncio.wrap_future(self._idle))

    def one_voice(self) -> BaseException:
        """What every call that hibernates raises: all they wait for, or that an answer is refused.

        Whoever resumed must hear of the refusal, and a node passes on only what is raised first.
        """
        with _guard:
            voice = GraphInterrupt(tuple(self._interrupts.values()))
            self._voices.add(voice)
            return self._refusal or voice


@contextmanager
def beside(siblings: Siblings) -> Iterator[None]:
    """Be one of them: what is raised inside is raised once no other is under way."""
    siblings.join()
    try:
        yield
    except BaseException as error:
        if isinstance(error, GraphInterrupt):
            sleep(START_SECONDS)
        siblings.leave(error)
        siblings.wait()
        if isinstance(error, GraphInterrupt):
            raise siblings.one_voice() from None
        raise
    else:
        siblings.leave(None)


@asynccontextmanager
async def beside_others(siblings: Siblings) -> AsyncIterator[None]:
    """`beside` for coroutines. One that is cancelled does not wait."""
    siblings.join(in_loop=True)
    try:
        yield
    except asyncio.CancelledError as error:
        siblings.leave(error)
        raise
    except BaseException as error:
        siblings.leave(error)
        await siblings.until_idle()
        if isinstance(error, GraphInterrupt):
            raise siblings.one_voice() from None
        raise
    else:
        siblings.leave(None)
