"""How the pages put things: times, numbers, states, and text that somebody else wrote."""

from __future__ import annotations

import json
import re
from typing import Any

from markupsafe import Markup, escape

from resumer.operator.wording import duration

__all__ = [
    "DECISIONS",
    "STATES",
    "exact",
    "latency",
    "marked",
    "number",
    "pretty",
    "readable",
    "scheme",
    "told",
]

# What each state means, in the order of a pause's life.
STATES = {
    "waiting": "hibernates, nobody has answered yet",
    "answered": "answered, not resumed yet",
    "resuming": "a worker runs it now",
    "failed": "the graph raised, it is tried again",
    "parked": "a person has to act",
    "resumed": "went on to the end or the next gate",
    "discarded": "a person decided that nothing more is done",
}
DECISIONS = {
    "approved": "Approved",
    "rejected": "Rejected",
    "timed_out": "Timed out",
    "expired": "Expired",
    "cancelled": "Cancelled",
}

NOTICES = {
    "retried": "It is taken up again.",
    "not_retried": "It was on its way already.",
    "discarded": "It is discarded.",
    "held": "Held: nothing new of it is resumed.",
    "released": "Released: what had to wait goes on.",
}
SCHEMES = {"hmac": "HMAC-SHA256", "ed25519": "Ed25519"}

# What turns text around or is not seen at all: on a page about decisions nothing may hide.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)

_CODE = re.compile("`([^`]*)`")


def latency(seconds: float | None) -> str:
    """A short time as one reads it: `84 ms`, `1.2 s`, `4 min`."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def number(value: float) -> str:
    """`12,345`; a fraction only where it says something."""
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def scheme(name: str) -> str:
    """A signature scheme as people know it."""
    return SCHEMES.get(name, name)


def told(done: str) -> str:
    """What was done, from the code that the address bears; empty for none of ours."""
    retried = done.removeprefix("retried-")
    if retried != done and retried.isascii() and retried.isdigit():
        return (
            f"{int(retried[:9]):,} {'pause is' if retried == '1' else 'pauses are'} taken up again."
        )
    return NOTICES.get(done, "")


def marked(text: str) -> Markup:
    """A sentence of ours, what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  (escaped before)


def pretty(value: Any) -> str:
    """A value as indented JSON; a text that is JSON already is only laid out."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def readable(value: Any) -> Any:
    """Text with what cannot be seen in it made visible; anything else, and our own, as it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", _whole(value))


def exact(text: str) -> Markup:
    """Text to copy: escaped, and nothing else is done to it."""
    return escape(_whole(text))


def _whole(text: str) -> str:
    """A lone surrogate, which JSON may hold, cannot be sent."""
    return text.encode("utf-8", "replace").decode()
