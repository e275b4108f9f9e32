"""What an operator should know first: the overview's headline, and what is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from resumer.model import State
from resumer.operator.views import Overview

__all__ = ["Matter", "matters", "resumed_last_hour"]

LONG_SINCE_SWEEP = timedelta(minutes=10)


@dataclass(frozen=True)
class Matter:
    """One thing to look at. `path` leads to it, below the dashboard's root."""

    tone: str
    text: str
    path: str = ""
    link: str = ""


def matters(seen: Overview) -> tuple[Matter, ...]:
    """What needs somebody, the worst first; empty if nothing does."""
    return (*_stopped(seen), *_stuck(seen), *_noticed(seen))


def resumed_last_hour(seen: Overview) -> int:
    """How many resumes ended within the last hour, to the nearest bucket."""
    since = seen.now - timedelta(hours=1)
    return sum(bucket.resumes for bucket in seen.series if bucket.start >= since)


def _stopped(seen: Overview) -> Iterator[Matter]:
    if not any(worker.is_alive for worker in seen.workers):
        yield Matter("bad", "No worker is running: nothing is resumed. Start `resumer worker`.")
    everything = [hold for hold in seen.held if hold.agent_id == "*"]
    if everything:
        yield Matter("bad", "Every agent is held: nothing is resumed.", "/ui/agents", "Agents")


def _stuck(seen: Overview) -> Iterator[Matter]:
    if parked := seen.counts.get(State.PARKED, 0):
        needs = "pause needs a person" if parked == 1 else "pauses need a person"
        yield Matter("bad", f"{parked:,} {needs}", "/ui/pauses?state=parked", "Look at them")
    if failed := seen.counts.get(State.FAILED, 0):
        raised = "graph raised" if failed == 1 else "graphs raised"
        text = f"{failed:,} {raised}, and will be tried again"
        yield Matter("warn", text, "/ui/pauses?state=failed", "Which")


def _noticed(seen: Overview) -> Iterator[Matter]:
    held = [hold for hold in seen.held if hold.agent_id != "*"]
    if held:
        text = f"{len(held):,} {'agent is' if len(held) == 1 else 'agents are'} held"
        yield Matter("warn", text, "/ui/agents", "Agents")
    if refused := sum(seen.refused.values()):
        what = "delivery was" if refused == 1 else "deliveries were"
        yield Matter("warn", f"{refused:,} {what} not genuine, and refused", "/#keys", "By key")
    if seen.swept_at is None:
        yield Matter("warn", "The sweep has not run yet: lost webhooks are not found out")
    elif seen.now - seen.swept_at > LONG_SINCE_SWEEP:
        yield Matter("warn", "The sweep has not run for more than 10 minutes", "/#health", "Health")
