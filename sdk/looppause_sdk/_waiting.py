"""How long to wait for an answer, and how often to look. Pure: time comes in as an argument."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ._retry import parse_time
from .errors import LoopPauseConfigError

__all__ = ["DEFAULT_DEADLINE", "Schedule", "expiry_of", "start", "status_of"]

DEFAULT_DEADLINE = 24 * 3600.0
MIN_LAST_LOOK = 0.25

_SPELLINGS = {"canceled": "cancelled"}


@dataclass
class Schedule:
    """One wait, in seconds on the monotonic clock: when it ends and when to look next."""

    started: float
    end: float
    interval: float
    max_interval: float
    first: float

    def left(self, now: float) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.end - now)

    def next_wait(self, now: float, asked: float) -> float:
        """Seconds until the next look: at least what the server asked for, never past the end."""
        wait = min(self.left(now), max(self.interval, asked))
        self.interval = min(2 * self.interval, self.max_interval)
        return wait

    def begin_again(self) -> None:
        """Look as often as at the beginning."""
        self.interval = self.first

    def patience(self, now: float, wait: float) -> float:
        """Seconds a look that starts after `wait` may take: a tenth of the whole past the end."""
        return self.left(now + wait) + max(MIN_LAST_LOOK, 0.1 * (self.end - self.started))


def start(
    now: float, deadline_seconds: float, *, poll_interval: float, max_interval: float
) -> Schedule:
    """Begin a wait. Raises `LoopPauseConfigError` if a number of seconds cannot be used."""
    for name, seconds in (("poll_interval", poll_interval), ("max_interval", max_interval)):
        if not 0 < (_number(seconds) or 0) < math.inf:
            raise LoopPauseConfigError(f"{name} must be a number of seconds above 0")
    if _number(deadline_seconds) is None or not 0 <= deadline_seconds < math.inf:
        raise LoopPauseConfigError("deadline_seconds must be a number of seconds, 0 or more")
    first = min(poll_interval, max_interval)
    return Schedule(now, now + deadline_seconds, first, max_interval, first)


def status_of(members: Mapping[str, Any]) -> str:
    """The pause's status; `responded` for a bare signed proof, empty if there is none."""
    status = members.get("status")
    if status is None and "signature" in members:
        return "responded"
    return _SPELLINGS.get(status, status) if isinstance(status, str) else ""


def expiry_of(members: Mapping[str, Any]) -> datetime | None:
    """When the pause expires: by its `expires_at`, else `created_at` plus `timeout_hours`."""
    expires_at, created = (parse_time(members.get(name)) for name in ("expires_at", "created_at"))
    hours = _number(members.get("timeout_hours"))
    if expires_at or created is None or hours is None:
        return expires_at
    try:
        return created + timedelta(hours=hours)
    except (OverflowError, ValueError):
        return None


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
