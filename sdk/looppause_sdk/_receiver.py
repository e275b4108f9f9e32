"""Waiting on the receiver: what it is asked, and what its reply is worth. Pure: no I/O.

The receiver has the answer as soon as LoopPause has delivered it. What it says is a hint where to
look until a key of the client's own has verified it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from ._json import parse_object
from ._replies import Answer, Failure, is_transient
from ._requests import Request
from .errors import ProofMalformed

__all__ = ["Ear", "Heard", "holds_back", "poll_limit", "poll_request", "poll_seconds", "read_poll"]

# Shorter than the 30 s after which routers of several hosts cut a request off.
LONGEST_POLL = 25.0
RESERVE = 0.25  # of the deadline, for the way there and back
GRACE = 10.0
HELD = 0.9


@dataclass
class Ear:
    """One wait's dealings with the receiver.

    `deaf` says that asking it again is of no use, `hint` that it knows of an end which only
    LoopPause can confirm.
    """

    deaf: bool
    hint: bool = False
    hinted: bool = False

    def take_hint(self) -> bool:
        """Whether to ask LoopPause at once; once in a wait, for the receiver will repeat itself."""
        now, self.hint = self.hint and not self.hinted, False
        self.hinted = self.hinted or now
        return now


@dataclass(frozen=True)
class Heard:
    """What the receiver said: a text to verify, nothing yet, or nothing that can be used.

    `denies` says that the text is the receiver's own word that the pause has ended. `trouble` is
    a sentence for the log, and `final` whether it would be the same the next time.
    """

    text: str | None = None
    denies: bool = False
    trouble: str | None = None
    final: bool = False


def poll_seconds(left: float) -> float:
    """How long the receiver may hold the reply back, so that it is here before the deadline."""
    return round(min(LONGEST_POLL, left - RESERVE), 3)


def poll_limit(seconds: float, left: float) -> float:
    """When to give up on a receiver that neither answers nor lets go."""
    return min(seconds + GRACE, left)


def holds_back(seconds: float, lasted: float) -> bool:
    """Whether the receiver does hold replies back, rather than send us away at once."""
    return lasted >= HELD * seconds


def poll_request(pause_id: str, seconds: float) -> Request:
    """Ask the receiver, and let it hold the reply back."""
    path = f"/pauses/{quote(pause_id, safe='')}?wait={seconds:.3f}"
    return Request("GET", path, to_receiver=True)


def read_poll(answer: Answer, pause_id: str) -> Heard:
    """What the receiver's reply says about the pause."""
    if isinstance(answer, Failure) or is_transient(answer):
        return Heard(trouble=f"the receiver is not there ({_what_came(answer)})")
    if answer.status in (401, 403):
        return Heard(
            trouble=f"the receiver refuses the token ({answer.status}): give "
            "LOOPPAUSE_RECEIVER_TOKEN a value of its RESUMER_READ_TOKENS",
            final=True,
        )
    if answer.status != 200:
        return Heard(
            trouble=f"the receiver answered {answer.status}: check LOOPPAUSE_RECEIVER_URL, and "
            "that the receiver has RESUMER_READ_TOKENS",
            final=True,
        )
    return _read_body(answer.body, pause_id)


def _read_body(body: bytes, pause_id: str) -> Heard:
    try:
        members = parse_object(body)
    except ProofMalformed:
        members = {}
    text = members.get("proof")
    usable = text is None or isinstance(text, str)
    if members.get("pause_id") != pause_id or "proof" not in members or not usable:
        return Heard(trouble="the receiver's reply makes no sense: check LOOPPAUSE_RECEIVER_URL")
    return Heard(text, denies=text is not None and _is_unsigned_denial(text))


def _is_unsigned_denial(text: str) -> bool:
    try:
        members: Mapping[str, object] = parse_object(text)
    except ProofMalformed:
        return False
    return set(members) == {"pause_id", "status"}


def _what_came(answer: Answer) -> str:
    return type(answer.error).__name__ if isinstance(answer, Failure) else f"{answer.status}"
