"""The life of a pause as a row of steps: what happened, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from resumer.model import time_of
from resumer.operator.views import Detail, Event
from resumer.operator.wording import duration

__all__ = ["Step", "asked_at", "timeline"]


@dataclass(frozen=True)
class Step:
    """One step. `tone` is its colour; `until` the last of `times` that were alike.

    `after` is how many seconds lie between it and the step before; `pauses` are linked; `is_ahead`
    says that it has not happened yet.
    """

    at: datetime
    title: str
    tone: str = "quiet"
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    pauses: tuple[str, ...] = ()
    times: int = 1
    until: datetime | None = None
    after: float | None = None
    is_ahead: bool = False


def timeline(detail: Detail, now: datetime) -> tuple[Step, ...]:
    """Every step of a pause, the oldest first, then what it waits for."""
    steps = [*_asked(detail), *(map(_step, detail.events) if detail.events else _kept(detail))]
    past = sorted(steps, key=lambda step: step.at)
    return (*_timed(list(_folded(past))), *_ahead(detail, now))


def _timed(steps: Sequence[Step]) -> Iterator[Step]:
    for before, step in zip([None, *steps], steps, strict=False):
        since = before and (before.until or before.at)
        after = (step.at - since).total_seconds() if since else None
        yield replace(step, after=after)


def asked_at(detail: Detail) -> datetime | None:
    """When the thread hibernated: as it was seen waiting, else by its checkpoint."""
    return detail.row.asked_at or time_of(detail.checkpoint_id or "")


def _asked(detail: Detail) -> Iterator[Step]:
    at = asked_at(detail)
    if at is not None:
        where = "The thread hibernates at its gate." if detail.row.thread_id else ""
        yield Step(at, "Asked, hibernated", text=where)


def _step(event: Event) -> Step:
    facts = dict(event.detail)
    if event.name == "delivered":
        return _delivered(event.at, facts)
    title, tone = _TITLES.get(event.name, (event.name.replace("_", " ").capitalize(), "quiet"))
    if event.name == "started" and (attempt := facts.pop("attempt", None)):
        title = f"{title}, attempt {attempt}"
    text = str(facts.pop("reason", None) or "")
    if (again := facts.pop("retry_in", None)) is not None:
        facts["again after"] = duration(again) if again >= 1 else f"{again} s"
    pauses = tuple(map(str, facts.pop("next_pauses", None) or ()))
    if event.name == "resumed":
        text = text or ("The thread hibernates at its next gate:" if pauses else "The run ended.")
    return Step(event.at, title, tone, text, _told(facts), pauses)


_TITLES = {
    "started": ("Resume started", "accent"),
    "postponed": ("Postponed", "warn"),
    "failed": ("The graph raised", "bad"),
    "parked": ("Parked", "bad"),
    "resumed": ("Resumed", "good"),
    "already_resumed": ("Resumed already, by somebody else", "good"),
    "collected": ("Collected by a client that waited", "good"),
    "retried": ("Taken up again by an operator", "accent"),
    "reopened": ("Taken up again", "accent"),
    "discarded": ("Discarded by an operator", "quiet"),
    "held": ("Held: its agent is paused", "warn"),
}


def _delivered(at: datetime, facts: dict[str, Any]) -> Step:
    result = facts.pop("result", "accepted")
    title, tone, text = {
        "duplicate": ("Delivered again", "quiet", "The same proof, counted."),
        "conflict": ("Another answer delivered", "warn", "Kept aside: the first decision stands."),
    }.get(str(result), ("Delivered, verified and recorded", "accent", ""))
    return Step(at, title, tone, text, _told(facts))


def _kept(detail: Detail) -> Iterator[Step]:
    """What the record alone says of a pause from before events were written."""
    row = detail.row
    if row.received_at is not None:
        yield Step(row.received_at, "Delivered, verified and recorded", "accent")
    if detail.deliveries > 1 and detail.last_delivery_at is not None:
        times = detail.deliveries - 1
        yield Step(detail.last_delivery_at, "Delivered again", times=times)
    if detail.started_at is not None:
        yield Step(detail.started_at, "Resume started", "accent")
    if row.finished_at is not None:
        title, tone = _TITLES.get(row.outcome or "resumed", ("Resumed", "good"))
        yield Step(row.finished_at, title, tone, pauses=detail.next_pauses)


def _folded(steps: Sequence[Step]) -> Iterator[Step]:
    """Neighbours that say the same become one with a count."""
    folded: Step | None = None
    for step in steps:
        if folded is not None and _is_same(folded, step):
            times = folded.times + step.times
            folded = replace(folded, times=times, until=step.at)
            continue
        if folded is not None:
            yield folded
        folded = step
    if folded is not None:
        yield folded


def _is_same(first: Step, second: Step) -> bool:
    return (first.title, first.text, first.facts) == (second.title, second.text, second.facts)


def _ahead(detail: Detail, now: datetime) -> Iterator[Step]:
    row = detail.row
    if row.state in ("answered", "failed") and row.next_attempt_at is not None:
        yield Step(max(row.next_attempt_at, now), "Looked at again", is_ahead=True)
    if row.state == "waiting" and row.expires_at is not None and row.expires_at > now:
        yield Step(row.expires_at, "Times out, unless somebody answers", is_ahead=True)


def _told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a step says besides, under the names that people read."""
    return {
        _NAMES.get(name, name.replace("_", " ")): value
        for name, value in facts.items()
        if value not in (None, "", [], {}) and name not in _LEFT_OUT
    }


_NAMES = {"key_id": "key", "code": "reason", "who": "by"}
_LEFT_OUT = frozenset({"error", "decision"})
