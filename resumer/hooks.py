"""Hooks: what a team's own code is told of outcomes, without any part in them."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from .metrics import Metrics
from .model import Failed, Outcome, Parked, PauseRecord, Place, Resumed
from .telemetry import Seldom, get_logger

__all__ = ["HOOKED", "Callback", "Callbacks", "HookEvent", "hashed"]

MOST_AT_ONCE = 16
LONGEST_SECONDS = 10.0

Hooked = Literal["resumed", "parked", "failed"]
HOOKED: tuple[Hooked, ...] = ("resumed", "parked", "failed")

log = get_logger()


@dataclass(frozen=True)
class HookEvent:
    """An outcome that is stored. Nothing of the proof that is secret or was typed in is in it.

    `event` is `resumed`, `parked` (a person has to act) or `failed` (the graph raised and is tried
    again in `retry_in` seconds). `raised` is how often the graph has, with this answer.
    `reason_code` and `reason` are None when resumed; a reason may quote the error of the graph.
    `next_pauses` are the gates at which the thread hibernates now. `responder` is who decided,
    hashed if the settings say so. `at` is UTC.
    """

    event: Hooked
    at: datetime
    pause_id: str
    decision: str
    agent_id: str | None
    thread_id: str | None
    raised: int
    reason_code: str | None = None
    reason: str | None = None
    retry_in: float | None = None
    next_pauses: tuple[str, ...] = ()
    responder: str | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, record: PauseRecord, outcome: Outcome, place: Place | None, now: datetime
    ) -> HookEvent | None:
        """What is told of this outcome; None for one that nobody is told of."""
        told = _told(outcome)
        if told is None:
            return None
        return cls(
            at=now,
            pause_id=record.pause_id,
            decision=record.decision,
            agent_id=place.agent_id if place else None,
            thread_id=place.thread_id if place else record.thread_id,
            raised=record.attempts + _has_raised(outcome),
            responder=record.responder,
            **told,
        )


Callback = Callable[[HookEvent], Awaitable[object] | object]


def hashed(responder: str) -> str:
    """A name that stays the same for the same person and does not say who it is.

    Whoever knows the person's address can work it out: it keeps names out of sight, not secret.
    """
    return "person-" + hashlib.sha256(responder.encode("utf-8", "replace")).hexdigest()[:16]


class Callbacks:
    """Calls what was given for an event, beside everything else and for `seconds` at most.

    A callback that raises, hangs or cannot keep up is logged, counted, and of no consequence. A
    synchronous one has a thread of its own; an asynchronous one runs in the loop of the receiver,
    and must not block it.
    """

    def __init__(
        self,
        given: Mapping[Hooked, Callback | None] | None = None,
        *,
        metrics: Metrics | None = None,
        hash_responders: bool = False,
        seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._given = {event: call for event, call in (given or {}).items() if call is not None}
        self._metrics = metrics or Metrics()
        self._hash_responders = hash_responders
        self._seconds = seconds
        self._complaints = {event: Seldom(log, per_minute=1) for event in HOOKED}
        self._calls: set[asyncio.Task[None]] = set()
        self._threads = 0

    def tell(self, event: HookEvent) -> None:
        """Start the callback of this event, if there is one. Never raises, never waits."""
        callback = self._given.get(event.event)
        if callback is None:
            return
        if len(self._calls) >= MOST_AT_ONCE or self._threads >= MOST_AT_ONCE:
            self._complain(event, "dropped", f"{MOST_AT_ONCE} calls have not ended yet")
            return
        if self._hash_responders and event.responder:
            event = replace(event, responder=hashed(event.responder))
        call = asyncio.create_task(self._call(callback, event), name=f"on_{event.event}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """On leaving, let those that have begun come to their end, in their time."""
        try:
            yield
        finally:
            if self._calls:
                await asyncio.wait(self._calls, timeout=self._seconds)
            for call in self._calls:
                call.cancel()

    async def _call(self, callback: Callback, event: HookEvent) -> None:
        begun = asyncio.ensure_future(self._begun(callback, event))
        try:
            done, _ = await asyncio.wait([begun], timeout=self._seconds)
        finally:
            begun.cancel()  # and not waited for: it may refuse
        if not done:
            self._complain(event, "failed", f"it took longer than {self._seconds:g} seconds")
        elif begun.cancelled():
            self._complain(event, "failed", "it was cancelled")
        elif error := begun.exception():
            self._complain(event, "failed", repr(error)[:300])
        else:
            self._metrics.hooked("callback", "done")

    async def _begun(self, callback: Callback, event: HookEvent) -> None:
        if _is_async(callback):
            result = callback(event)
        else:
            self._threads += 1
            result = await _in_thread(callback, event, self._ended)
        if inspect.isawaitable(result):
            try:
                await result
            except (SystemExit, KeyboardInterrupt) as error:
                raise RuntimeError(repr(error)) from error  # as it is, it would end our loop

    def _ended(self) -> None:
        self._threads -= 1

    def _complain(self, event: HookEvent, result: str, why: str) -> None:
        self._metrics.hooked("callback", result)
        complaints = self._complaints[event.event]
        complaints.warning(
            "hook_failed", hook=f"on_{event.event}", pause_id=event.pause_id, error=why
        )


def _told(outcome: Outcome) -> dict[str, Any] | None:
    match outcome:
        case Resumed(next_pauses):
            return {"event": "resumed", "next_pauses": next_pauses}
        case Parked(code, reason):
            return {"event": "parked", "reason_code": code, "reason": reason}
        case Failed(reason, _, retry_in):
            more = {"reason_code": "raised", "reason": reason, "retry_in": retry_in}
            return {"event": "failed", **more}
        case _:
            return None


def _has_raised(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) or (isinstance(outcome, Parked) and bool(outcome.error))


def _is_async(callback: Callback) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
        getattr(callback, "__call__", None)  # noqa: B004  (an object with an async __call__)
    )


async def _in_thread(callback: Callback, event: HookEvent, ended: Callable[[], None]) -> Any:
    """Run it in a thread that no node may be waiting for, and that does not keep us from ending."""
    loop, result = asyncio.get_running_loop(), Future[Any]()

    def run() -> None:
        result.set_running_or_notify_cancel()
        try:
            result.set_result(callback(event))
        except Exception as error:  # noqa: BLE001  (raised where it is awaited)
            result.set_exception(error)
        except BaseException as error:  # noqa: BLE001  (it ends itself, and nobody else)
            result.set_exception(RuntimeError(repr(error)))
        finally:
            _soon(loop, ended)

    threading.Thread(target=copy_context().run, args=(run,), name="hook", daemon=True).start()
    return await asyncio.wrap_future(result)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody counts any more
        loop.call_soon_threadsafe(call)
