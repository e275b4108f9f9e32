"""What is told of a resume beside its record: a log line, metrics, a trace, the hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .hibernation import Verb
from .hooks import Callbacks, HookEvent
from .metrics import Metrics, outcome_name
from .model import (
    AlreadyResumed,
    Failed,
    Outcome,
    Parked,
    PauseRecord,
    Place,
    Postponed,
    Resumed,
)
from .rules import age
from .telemetry import get_logger
from .tracing import UNTRACED, Span, Tracing
from .webhook import Webhook

__all__ = ["Witness"]

log = get_logger()


@dataclass(frozen=True)
class Witness:
    """Sees resumes begin and end, and never has a part in them."""

    metrics: Metrics = field(default_factory=Metrics)
    callbacks: Callbacks = field(default_factory=Callbacks)
    webhook: Webhook | None = None
    tracing: Tracing = UNTRACED

    @contextmanager
    def attempt(
        self, record: PauseRecord, place: Place, verb: Verb, now: datetime
    ) -> Iterator[Callable[[Outcome], Outcome]]:
        """A graph or flow goes on in the body, which hands its outcome to what this yields."""
        self._began(record, place, verb, now)
        since = time.monotonic()
        facts = _facts(record, place)
        with self.tracing.span(
            "resumer.resume",
            "consumer",
            parent=record.traceparent,
            link=place.traceparent,
            attempt=record.attempts + 1,
            **facts,
        ) as span:

            def ended(outcome: Outcome) -> Outcome:
                self.metrics.ran(time.monotonic() - since, outcome)
                _note(span, outcome)
                return outcome

            yield ended

    def _began(self, record: PauseRecord, place: Place, verb: Verb, now: datetime) -> None:
        is_first = record.started_at is None
        self.metrics.began(age(record.received_at, now) if is_first else None)
        log.info(
            verb,
            pause_id=record.pause_id,
            thread_id=place.thread_id,
            agent_id=place.agent_id,
            attempt=record.attempts + 1,
        )

    def hook(self, event: HookEvent | None) -> dict[str, Any] | None:
        """The job that tells the webhook of this, to be enqueued with the outcome."""
        return self.webhook.job(event) if self.webhook else None

    def ended(
        self,
        record: PauseRecord,
        outcome: Outcome,
        place: Place | None,
        event: HookEvent | None,
        now: datetime,
    ) -> None:
        """The outcome is stored."""
        if event is not None:
            self.callbacks.tell(event)
        self.metrics.ended(outcome, age(record.received_at, now))
        self._trace(record, outcome, place)
        _log_outcome(record, outcome, place)

    def _trace(self, record: PauseRecord, outcome: Outcome, place: Place | None) -> None:
        """The last step of the trace, for what is final."""
        if isinstance(outcome, (Resumed, AlreadyResumed, Parked)):
            facts = _facts(record, place)
            with self.tracing.span(
                "resumer.outcome", "internal", parent=record.traceparent, **facts
            ) as span:
                _note(span, outcome)


def _facts(record: PauseRecord, place: Place | None) -> dict[str, str | None]:
    return {"pause_id": record.pause_id, "agent_id": place.agent_id if place else None}


def _note(span: Span, outcome: Outcome) -> None:
    code = getattr(outcome, "code", None)
    span.note(outcome=outcome_name(outcome), reason_code=code)
    if isinstance(outcome, (Failed, Parked)):
        span.fail(code or "raised")


def _log_outcome(record: PauseRecord, outcome: Outcome, place: Place | None) -> None:
    facts: dict[str, Any] = {"pause_id": record.pause_id, "decision": record.decision}
    if place is not None:
        facts |= {"thread_id": place.thread_id, "agent_id": place.agent_id}
    match outcome:
        case Resumed(next_pauses):
            log.info("resumed", **facts, next_pauses=list(next_pauses))
        case AlreadyResumed(reason):
            log.info("already_resumed", **facts, reason=reason)
        case Failed(reason, _, retry_in):
            log.warning("graph_raised", **facts, error=reason, retry_in=round(retry_in, 1))
        case Parked(code, reason):
            log.warning("parked", **facts, code=code, reason=reason)
        case Postponed(code, reason, retry_in):
            log.info("postponed", **facts, code=code, reason=reason, retry_in=round(retry_in, 1))
