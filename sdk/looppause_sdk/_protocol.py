"""The client's logic, once: generators that say what to send next and are told what came back.

A flow yields `Attempt`s and returns its result; whoever drives it waits, sends and hands in the
`Answer`. The two clients differ only in how they wait and send.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from ._receiver import Ear, holds_back, poll_limit, poll_request, poll_seconds, read_poll
from ._replies import Answer, Message, header, is_transient, read_message
from ._requests import Question, Request, create_request, is_pause_id, look_request
from ._retry import Clock, backoff, retry_after
from ._settings import Settings
from ._waiting import DEFAULT_DEADLINE, Schedule, expiry_of, start, status_of
from .errors import (
    LoopPauseUnavailable,
    PauseEnded,
    ProofError,
    ProofInvalid,
    WaitDeadlineExceeded,
)
from .proof import DENIAL_STATUSES, Proof, verify

__all__ = ["Attempt", "Flow", "LoopPauseProtocol", "Pause"]

WAITING = ("pending", "delivered")
REMEMBERED_PAUSES = 1024

_log = logging.getLogger("looppause_sdk")


@dataclass(frozen=True)
class Pause:
    """A pause LoopPause has taken.

    `expires_at` is ISO 8601: LoopPause's own, or the client's time plus `timeout_hours` if the
    reply names none.
    """

    pause_id: str
    status: str
    expires_at: str | None


@dataclass(frozen=True)
class Attempt:
    """Wait so many seconds, then send; give up on the exchange `limit` seconds after that.

    The reply may be held back on purpose for `hold` seconds.
    """

    request: Request
    wait: float = 0.0
    limit: float = math.inf
    hold: float = 0.0


@dataclass(frozen=True)
class _Opened:
    """A pause of this client's. `is_delivered` is False where nobody is sent the answer."""

    expires: datetime
    is_delivered: bool


T = TypeVar("T")
Flow = Generator[Attempt, Answer, T]


class LoopPauseProtocol:
    """The flows of one client, with its settings, its clock and the pauses it has opened."""

    def __init__(self, settings: Callable[[], Settings], clock: Clock) -> None:
        self._settings_now = settings
        self._clock = clock
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._told: set[str] = set()

    @property
    def _settings(self) -> Settings:
        return self._settings_now()

    def open_pause(self, question: Question) -> Flow[Pause]:
        """Create the pause, or find the one the same idempotency key created before."""
        request = create_request(question, webhook_url=self._settings.webhook_url)
        message = yield from self._call(request)
        pause_id = message.members.get("pause_id")
        if not is_pause_id(pause_id):
            raise LoopPauseUnavailable(
                "LoopPause answered, but without a usable `pause_id`: check that "
                "LOOPPAUSE_API_URL is the API's address. No pause is known to exist: do not act"
            )
        expires = expiry_of(message.members)
        if expires is None:
            expires = self._clock.now() + timedelta(hours=question.timeout_hours)
        self._remember(str(pause_id), _Opened(expires, is_delivered=question.webhook_url != ""))
        return Pause(str(pause_id), status_of(message.members) or "pending", _iso(expires))

    def get_pause(self, pause_id: str) -> Flow[Message]:
        """The pause as LoopPause describes it. Not verified: decide nothing by it."""
        return (yield from self._call(look_request(pause_id)))

    def wait_for_proof(
        self,
        pause_id: str,
        *,
        poll_interval: float,
        max_interval: float,
        deadline_seconds: float | None,
    ) -> Flow[Proof]:
        """Look until the pause is answered or has ended, or the deadline has passed.

        Between two looks, listen to the receiver if there is one.
        """
        request, now, wait = look_request(pause_id), self._clock.monotonic(), 0.0
        seconds = self._usual(pause_id) if deadline_seconds is None else deadline_seconds
        schedule = start(now, seconds, poll_interval=poll_interval, max_interval=max_interval)
        reported: set[str] = set()
        ear = Ear(deaf=not self._may_listen(pause_id))
        while True:
            answer = yield Attempt(request, wait, schedule.patience(now, wait))
            message, trouble = self._looked(answer)
            if message:
                proof = self._settle(pause_id, message, reported)
                if proof:
                    return proof
                if deadline_seconds is None:
                    self._adopt_expiry(schedule, message.members)
            now = self._clock.monotonic()
            if not schedule.left(now):
                raise trouble or _nobody_answered(pause_id)
            wait = schedule.next_wait(now, self._retry_after(answer))
            proof = yield from self._listen(pause_id, schedule, ear)
            if proof:
                return proof
            looked, now = now, self._clock.monotonic()
            spent = now - looked
            wait = 0.0 if ear.take_hint() else min(schedule.left(now), max(0.0, wait - spent))

    def _may_listen(self, pause_id: str) -> bool:
        opened = self._opened.get(pause_id)
        return self._settings.receiver is not None and (opened is None or opened.is_delivered)

    def _listen(self, pause_id: str, schedule: Schedule, ear: Ear) -> Flow[Proof | None]:
        """Ask the receiver once, and believe it only what verifies."""
        now = self._clock.monotonic()
        left = schedule.left(now)
        seconds = poll_seconds(left)
        if ear.deaf or seconds <= 0:
            return None
        request, limit = poll_request(pause_id, seconds), poll_limit(seconds, left)
        answer = yield Attempt(request, limit=limit, hold=seconds)
        heard = read_poll(answer, pause_id)
        ear.deaf, ear.hint = heard.final, heard.denies
        if heard.text is not None and not heard.denies:
            return self._heard_proof(pause_id, heard.text)
        if heard.trouble:
            self._tell_once(heard.trouble)
        elif holds_back(seconds, self._clock.monotonic() - now):
            schedule.begin_again()
        return None

    def _heard_proof(self, pause_id: str, text: str) -> Proof | None:
        try:
            return self._own_proof(pause_id, text)
        except ProofError as error:
            self._tell_once(f"the receiver's proof of pause {pause_id} is refused ({error})")
            return None

    def _tell_once(self, trouble: str) -> None:
        kind = trouble.partition("(")[0].partition(":")[0]
        if kind not in self._told:
            self._told.add(kind)
            _log.warning("%s. LoopPause is asked instead", trouble)

    def parse_resume_proof(self, payload: bytes | str | Mapping[str, Any]) -> Proof:
        """Verify a proof against every configured key."""
        settings = self._settings
        return verify(payload, secrets=settings.secrets, public_keys=settings.public_keys)

    def _call(self, request: Request) -> Flow[Message]:
        """Send a request, again if the trouble may pass, and return the message."""
        wait, attempt = 0.0, 1
        while True:
            answer = yield Attempt(request, wait)
            if not is_transient(answer) or attempt >= self._settings.max_attempts:
                return self._read(answer, attempt)
            chance = backoff(attempt, self._clock.random())
            wait, attempt = max(chance, self._retry_after(answer)), attempt + 1

    def _read(self, answer: Answer, attempts: int = 1) -> Message:
        return read_message(answer, attempts=attempts, hide=self._settings.api_key)

    def _looked(self, answer: Answer) -> tuple[Message | None, LoopPauseUnavailable | None]:
        try:
            return self._read(answer), None
        except LoopPauseUnavailable as trouble:
            return None, trouble

    def _settle(self, pause_id: str, message: Message, reported: set[str]) -> Proof | None:
        """Return the proof of an answered pause, None while it waits; raise if it has ended."""
        status = status_of(message.members)
        if status == "responded":
            return self._own_proof(pause_id, message.body)
        if status in DENIAL_STATUSES:
            raise _ended(pause_id, status)
        if status not in (*WAITING, *reported):
            reported.add(status)
            _log.warning("pause %s has the unknown status %.60r: still waiting", pause_id, status)
        return None

    def _own_proof(self, pause_id: str, body: bytes | str) -> Proof:
        proof = self.parse_resume_proof(body)
        if proof.pause_id != pause_id:
            raise ProofInvalid(
                f"the proof is genuine, but for pause {proof.pause_id!r} and not {pause_id!r}"
            )
        if proof.decision in DENIAL_STATUSES:
            raise _ended(pause_id, proof.decision)
        return proof

    def _retry_after(self, answer: Answer) -> float:
        return retry_after(header(answer, "retry-after"), self._clock.now())

    def _usual(self, pause_id: str) -> float:
        """Seconds to wait if neither the caller nor LoopPause says how long."""
        opened = self._opened.get(pause_id)
        return DEFAULT_DEADLINE if opened is None else self._seconds_until(opened.expires)

    def _adopt_expiry(self, schedule: Schedule, members: Mapping[str, Any]) -> None:
        expires = expiry_of(members)
        if expires is not None:
            schedule.end = self._clock.monotonic() + self._seconds_until(expires)

    def _seconds_until(self, moment: datetime) -> float:
        return max(0.0, (moment - self._clock.now()).total_seconds())

    def _remember(self, pause_id: str, opened: _Opened) -> None:
        self._opened[pause_id] = opened
        if len(self._opened) > REMEMBERED_PAUSES:
            self._opened.popitem(last=False)


def _ended(pause_id: str, status: str) -> PauseEnded:
    how = status.replace("_", " ")
    return PauseEnded(
        f"pause {pause_id} ended without an answer ({how}): the action must not happen",
        pause_id=pause_id,
        status=status,
    )


def _nobody_answered(pause_id: str) -> WaitDeadlineExceeded:
    return WaitDeadlineExceeded(
        f"nobody answered pause {pause_id} before the deadline: do not act; the pause may still "
        "be open"
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
