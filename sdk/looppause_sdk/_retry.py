"""When to try again, and the clock that waiting goes by."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["Clock", "backoff", "parse_time", "retry_after"]

FIRST_BACKOFF = 0.5
MAX_BACKOFF = 8.0
MAX_RETRY_AFTER = 60.0


async def _asleep(seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - who waits in it has it; for all others it takes long to load

    await asyncio.sleep(seconds)


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Clock:
    """Time and chance as a client sees them; a test hands in its own to wait in no time.

    `sleep` and `asleep` take seconds, `monotonic` returns seconds, `now` an aware datetime and
    `random` a number from 0 up to 1.
    """

    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = _asleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now
    random: Callable[[], float] = random.random


def backoff(attempt: int, chance: float) -> float:
    """Seconds to wait after the given attempt (the first is 1): exponential, with full jitter."""
    return chance * min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempt - 1, 16))


def retry_after(header: str | None, now: datetime) -> float:
    """Seconds a `Retry-After` header asks for, 0 to 60; 0 if it is absent or says nothing."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
    return max(0.0, min(_seconds_until(date, now), MAX_RETRY_AFTER))


def parse_time(value: object) -> datetime | None:
    """Read an ISO 8601 time, taken for UTC if it names no zone; None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return _aware(moment)


def _seconds_until(date: datetime, now: datetime) -> float:
    return (_aware(date) - now).total_seconds()


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
