"""The facts beside an explanation, in the order of a pause's life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from .views import Detail, Held, Worker
from .wording import ago, ahead, fault, moment, whom

__all__ = ["EVERY_AGENT", "NOTHING_ELSE", "Fact", "Surroundings", "facts_of"]

EVERY_AGENT = "*"


@dataclass(frozen=True)
class Surroundings:
    """What is known beside the pause itself. `workers` is None where nobody has asked."""

    workers: tuple[Worker, ...] | None = None
    held: tuple[Held, ...] = ()
    queued: int | None = None

    @property
    def nobody_works(self) -> bool:
        """Whether it is known that no worker lives."""
        return self.workers is not None and not any(worker.is_alive for worker in self.workers)

    def hold_on(self, agent_id: str | None) -> Held | None:
        """The hold that keeps this agent's threads, if there is one."""
        names = (agent_id, EVERY_AGENT)
        return next((held for held in self.held if held.agent_id in names), None)


NOTHING_ELSE = Surroundings()


@dataclass(frozen=True)
class Fact:
    """What is known of one thing: taken apart, its name and its text."""

    name: str
    text: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.name, self.text))


def facts_of(
    detail: Detail, now: datetime, around: Surroundings = NOTHING_ELSE
) -> tuple[Fact, ...]:
    """What is known, leaving out what is not."""
    pairs = [
        ("pause", detail.row.pause_id),
        ("state", str(detail.row.state)),
        *_question(detail, now),
        *_answer(detail, now),
        *_work(detail, now),
        *_service(detail, now, around),
    ]
    return tuple(Fact(name, text) for name, text in pairs)


def _question(detail: Detail, now: datetime) -> Iterator[tuple[str, str]]:
    row = detail.row
    known = {
        "asked": row.description,
        "asked of": whom(row.recipients),
        "agent": row.agent_id,
        "thread": row.thread_id,
        "hibernates since": row.asked_at and _past(row.asked_at, now),
    }
    yield from ((name, text) for name, text in known.items() if text)
    if row.expires_at is not None:
        name, when = ("expires", ahead) if row.expires_at > now else ("expired", ago)
        yield name, f"{moment(row.expires_at)}, {when(row.expires_at, now)}"


def _answer(detail: Detail, now: datetime) -> Iterator[tuple[str, str]]:
    row = detail.row
    if row.decision is None:
        return
    by = f" by {row.responder}" if row.responder else ""
    yield "decision", f"{row.decision}{by}"
    if row.received_at is not None:
        times = f", {detail.deliveries} times" if detail.deliveries > 1 else ""
        yield "delivered", _past(row.received_at, now) + times
    if detail.conflicts:
        yield "other answers", f"{len(detail.conflicts)} that say something else: never applied"


def _work(detail: Detail, now: datetime) -> Iterator[tuple[str, str]]:
    row = detail.row
    if detail.started_at is not None:
        yield "first resumed", _past(detail.started_at, now)
    if row.attempts:
        yield "times it raised", str(row.attempts)
    if row.reason_code is not None:
        yield "reason code", row.reason_code
    if row.reason:
        yield "reason", row.reason
    if row.next_attempt_at is not None and row.finished_at is None:
        yield "looked at again", ahead(row.next_attempt_at, now)
    if detail.error:
        yield "last error", fault(detail.error)
    if row.finished_at is not None:
        yield "ended", _past(row.finished_at, now)
    if detail.next_pauses:
        yield "next pauses", ", ".join(detail.next_pauses)


def _service(detail: Detail, now: datetime, around: Surroundings) -> Iterator[tuple[str, str]]:
    if around.workers is not None:
        alive = [worker for worker in around.workers if worker.is_alive]
        yield "workers alive", str(len(alive))
    if around.queued is not None:
        yield "in the queue", str(around.queued)
    if held := around.hold_on(detail.row.agent_id):
        why = f": {held.reason}" if held.reason else ""
        yield "held", f"by {held.held_by}, {ago(held.held_at, now)}{why}"


def _past(then: datetime, now: datetime) -> str:
    return f"{moment(then)}, {ago(then, now)}"
