"""Deliver signed proofs to the webhooks of their pauses, and keep trying."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from looppause_sdk.testing import FakeLoopPause
from resumer.telemetry import get_logger

__all__ = ["Backoff", "Deliverer"]

KEPT_ATTEMPTS = 50
_chance = random.SystemRandom()
log = get_logger("resumer.emulator")


@dataclass(frozen=True)
class Backoff:
    """When to try again: after `first` seconds, then `factor` times longer, up to `longest`.

    `jitter` is the share by which a wait may be longer or shorter; after `attempts` tries in
    all the deliverer gives up. The default gives up after about three quarters of an hour.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 300.0
    attempts: int = 16
    jitter: float = 0.2

    def delay(self, failed: int, chance: float) -> float:
        """Seconds to wait after `failed` failures; `chance` is between 0 and 1."""
        exponent = min(failed - 1, 64)
        wait = min(self.first * self.factor**exponent, self.longest)
        return wait * (1 + self.jitter * (2 * chance - 1))


class Deliverer:
    """Posts each proof to its pause's `webhook_url` until the receiver takes it with a 2xx.

    What was tried is kept in the pause's document as `notes["delivery"]`: `state` (`retrying`,
    `delivered`, `gave_up` or `dropped`), `attempts` (`at`, `status` or `error`, `ms`, the `result`
    the receiver names, `to` where it is not the `webhook_url`, `what` for an odd one), `failed` and
    `next_attempt_at`; with a file, an unfinished delivery goes on after a restart.

    `deliver=False` loses every proof on purpose, `drop_rate` that share of them, so that a
    receiver's own reconciling can be tried; `notices=False` sends no timeouts and expiries.
    `deliver_to` gives the address to use for a `webhook_url`, where the receiver has moved.
    """

    def __init__(
        self,
        fake: FakeLoopPause,
        *,
        backoff: Backoff,
        deliver: bool = True,
        drop_rate: float = 0.0,
        notices: bool = True,
        timeout: float = 10.0,
        in_flight: int = 32,
        deliver_to: Callable[[str], str] | None = None,
    ) -> None:
        self.deliver = deliver
        self.drop_rate = drop_rate
        self.notices = notices
        self.backoff = backoff
        self._fake = fake
        self._timeout = timeout
        self._slots = asyncio.Semaphore(in_flight)
        self._deliver_to = deliver_to
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._odd: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs; what is unfinished at its end stays for the next one."""
        self._loop = asyncio.get_running_loop()
        self._fake.listeners.append(self._on_change)
        # No proxy from the environment: a webhook is nearly always on this machine.
        async with httpx.AsyncClient(timeout=self._timeout, trust_env=False) as self._http:
            for document in self._fake.documents():
                self._on_change(document)
            try:
                yield
            finally:
                self._fake.listeners.remove(self._on_change)
                self._loop = None
                await self._stop()

    def address_of(self, document: Mapping[str, Any]) -> str | None:
        """Where the proof of this pause is sent; None if it has no webhook."""
        url: str | None = document["request"].get("webhook_url")
        return self._deliver_to(url) if url and self._deliver_to else url

    def plan(
        self, pause_id: str, *, delay: float = 0.0, copies: int = 1, lose: bool = False
    ) -> None:
        """Deliver the answer of a waiting pause oddly, for a test of the receiver.

        That is `delay` seconds late, in so many `copies` at the same moment, or not at all.
        """
        self._fake.note(pause_id, plan={"delay": delay, "copies": copies, "lose": lose})

    def send(self, pause_id: str, body: bytes, what: str) -> None:
        """Post `body` once to the webhook of an ended pause, whatever it is; kept as `what`."""
        if self._loop is not None and self.address_of(self._fake.document(pause_id)):
            self._loop.call_soon_threadsafe(self._send, pause_id, body, what)

    def redeliver(self, pause_id: str) -> None:
        """Send the proof of an ended pause again at once, delivered before or not."""
        document = self._fake.document(pause_id)
        if document["proof"] is None or not document["request"].get("webhook_url"):
            return
        if self._loop is None:
            self._renew(pause_id)
        else:
            self._loop.call_soon_threadsafe(self._renew, pause_id)

    def _renew(self, pause_id: str) -> None:
        if task := self._tasks.pop(pause_id, None):
            task.cancel()
        self._fake.note(
            pause_id, plan={}, delivery={**_FRESH, "attempts": self._noted(pause_id)["attempts"]}
        )
        self._start(pause_id)

    def _send(self, pause_id: str, body: bytes, what: str) -> None:
        async def send() -> None:
            async with self._slots:
                attempt = await self._attempt(self._fake.document(pause_id), body)
            noted = self._noted(pause_id)
            attempts = [*noted["attempts"], {**attempt, "what": what}][-KEPT_ATTEMPTS:]
            self._note(pause_id, {**noted, "attempts": attempts})
            log.info("odd delivery", pause_id=pause_id, what=what, **_logged(attempt))

        task = asyncio.get_running_loop().create_task(send())
        self._odd.add(task)
        task.add_done_callback(self._odd.discard)

    def _on_change(self, document: Mapping[str, Any]) -> None:
        if self._loop is not None and self._is_open(document):
            self._loop.call_soon_threadsafe(self._start, document["pause_id"])

    def _is_open(self, document: Mapping[str, Any]) -> bool:
        if document["proof"] is None or not document["request"].get("webhook_url"):
            return False
        if document["status"] != "responded" and not self.notices:
            return False
        delivery = document["notes"].get("delivery", _FRESH)
        return bool(delivery["state"] == "retrying" and document["pause_id"] not in self._tasks)

    def _start(self, pause_id: str) -> None:
        if pause_id in self._tasks or self._loop is None:
            return
        self._tasks[pause_id] = task = self._loop.create_task(self._deliver(pause_id))
        task.add_done_callback(lambda done: self._forget(pause_id, done))

    def _forget(self, pause_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(pause_id) is task:
            del self._tasks[pause_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery broke off", pause_id=pause_id, exc_info=error)

    async def _stop(self) -> None:
        tasks = [*self._tasks.values(), *self._odd]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, pause_id: str) -> None:
        document = self._fake.document(pause_id)
        plan = {**_AS_USUAL, **document["notes"].get("plan", {})}
        if plan["lose"] or not self.deliver or _chance.random() < self.drop_rate:
            dropped = {**self._noted(pause_id), "state": "dropped", "next_attempt_at": None}
            self._note(pause_id, dropped)
            log.warning("delivery dropped on purpose", pause_id=pause_id)
            return
        if plan["delay"] and not self._noted(pause_id)["next_attempt_at"]:
            self._note(pause_id, {**self._noted(pause_id), "next_attempt_at": _in(plan["delay"])})
        while (delivery := self._noted(pause_id))["state"] == "retrying":
            await asyncio.sleep(_seconds_until(delivery["next_attempt_at"]))
            async with self._slots:
                copies = [self._attempt(document) for _ in range(plan["copies"])]
                attempts = await asyncio.gather(*copies)
            for attempt in attempts:
                self._note(pause_id, self._after(self._noted(pause_id), attempt))
                state = self._noted(pause_id)["state"]
                log.info("delivery", pause_id=pause_id, state=state, **_logged(attempt))

    async def _attempt(
        self, document: Mapping[str, Any], body: bytes | None = None
    ) -> dict[str, Any]:
        started, at = time.perf_counter(), datetime.now(UTC)
        address = self.address_of(document) or ""
        try:
            reply = await self._http.post(
                address,
                content=json.dumps(document["proof"]).encode() if body is None else body,
                headers={"Content-Type": "application/json", "User-Agent": "looppause-emulator"},
            )
            outcome: dict[str, Any] = {"status": reply.status_code, **_told(reply)}
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            outcome = {"error": f"{type(error).__name__}: {error}"[:200]}
        if address != document["request"]["webhook_url"]:
            outcome["to"] = address
        return {"at": at.isoformat(), **outcome, "ms": round((time.perf_counter() - started) * 1e3)}

    def _after(self, delivery: Mapping[str, Any], attempt: Mapping[str, Any]) -> dict[str, Any]:
        attempts = [*delivery["attempts"], attempt][-KEPT_ATTEMPTS:]
        done = {**delivery, "attempts": attempts, "next_attempt_at": None}
        if delivery["state"] == "delivered" or 200 <= attempt.get("status", 0) < 300:
            return {**done, "state": "delivered"}
        failed = delivery["failed"] + 1
        if failed >= self.backoff.attempts:
            return {**done, "state": "gave_up", "failed": failed}
        again = _in(self.backoff.delay(failed, _chance.random()))
        return {**done, "failed": failed, "next_attempt_at": again}

    def _noted(self, pause_id: str) -> dict[str, Any]:
        delivery: dict[str, Any] = self._fake.document(pause_id)["notes"].get("delivery", _FRESH)
        return delivery

    def _note(self, pause_id: str, delivery: Mapping[str, Any]) -> None:
        self._fake.note(pause_id, delivery=dict(delivery))


_FRESH: dict[str, Any] = {
    "state": "retrying",
    "attempts": [],
    "failed": 0,
    "next_attempt_at": None,
}

_AS_USUAL: dict[str, Any] = {"delay": 0.0, "copies": 1, "lose": False}


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _logged(attempt: Mapping[str, Any]) -> dict[str, Any]:
    # What the receiver made of it is in its own line, which is short on a terminal.
    return {name: value for name, value in attempt.items() if name not in ("result", "to")}


def _told(reply: httpx.Response) -> dict[str, str]:
    """What the receiver says of it: in one word if it took it, in its own words if not."""
    if not reply.is_success:
        return {"error": reply.text[:200]}
    try:
        result = reply.json()["status"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {"result": result[:40]} if isinstance(result, str) else {}


def _seconds_until(moment: str | None) -> float:
    if moment is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())
