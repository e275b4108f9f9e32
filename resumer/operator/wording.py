"""Times and names as people read them, in the shell as on the pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

__all__ = ["ago", "ahead", "command", "duration", "fault", "moment", "whom"]


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `23 h 59 min`, `4 min`, `8 s`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def ago(then: datetime, now: datetime) -> str:
    """How long ago: `8 s ago`, or `just now`."""
    seconds = (now - then).total_seconds()
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def ahead(then: datetime, now: datetime) -> str:
    """How long until: `in 8 s`, or `now`."""
    seconds = (then - now).total_seconds()
    return "now" if seconds < 1 else f"in {duration(seconds)}"


def moment(then: datetime) -> str:
    """A time to the second, in UTC."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def whom(recipients: Iterable[Mapping[str, str]]) -> str:
    """Those who were asked: `#finance (slack), ada@example.com (email)`."""
    return ", ".join(map(_recipient, recipients))


def fault(error: str) -> str:
    """The line of a traceback that names the exception: libraries add notes behind it."""
    lines = [line for line in error.strip().splitlines() if _NAMES_FAULT.match(line)]
    return (lines or error.strip().splitlines() or [""])[-1]


def command(*words: str) -> str:
    """A command line that can be pasted, whatever is in an id."""
    return shlex.join(words)


def _recipient(one: Mapping[str, str]) -> str:
    target, channel = one.get("target", "somebody"), one.get("channel")
    return f"{target} ({channel})" if channel else target


_NAMES_FAULT = re.compile(r"[A-Za-z_][\w.]*(:|$)", re.ASCII)
