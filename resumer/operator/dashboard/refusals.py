"""Why a page is not shown: each says what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["NO_PAGE", "NO_PAUSE", "Refused", "away", "not_started", "read_only"]


@dataclass(frozen=True)
class Refused(Exception):
    """A request that is answered with a page of a heading and a sentence."""

    status: int
    title: str
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


NO_PAGE = Refused(404, "There is no such page", "The address may have a slip in it.")
NO_PAUSE = Refused(
    404,
    "There is no such pause here",
    "A pause is known once its answer was delivered, or once the sweep has seen its thread "
    "hibernate. If it was asked a moment ago, look again in a minute.",
)


def read_only() -> Refused:
    """For a token that may look, and no more."""
    return Refused(
        403,
        "Your token may only read",
        "Nothing was done. Sign in with one of RESUMER_ACT_TOKENS to retry, discard, hold or "
        "release.",
    )


def away() -> Refused:
    """While the database does not answer."""
    return Refused(
        503,
        "The database does not answer",
        "Deliveries are answered 503 and will come again: nothing is lost. This page tries again "
        "by itself; `resumer doctor` says what is wrong.",
        {"Retry-After": "5"},
    )


def not_started() -> Refused:
    """For an application that is mounted, and that nobody started."""
    return Refused(
        503,
        "The receiver is not started",
        "Enter `resumer.lifespan` in the host application's lifespan, or wrap serving in "
        "`async with resumer.running()`.",
        {"Retry-After": "5"},
    )
