"""The kinds of deliveries that can be tried out, and what a sound receiver does with each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from .keys import SigningKey

__all__ = ["Delivery", "Kind", "Said", "deliveries", "made_up_pause_id"]


class Kind(StrEnum):
    """What is delivered."""

    APPROVED = "approved"
    REJECTED = "rejected"
    FALLBACK = "fallback"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    EARLY = "early"
    TAMPERED = "tampered"
    CONFLICT = "conflict"

    @property
    def answers_a_thread(self) -> bool:
        """Whether it is about a pause that a thread waits for."""
        return self not in (Kind.EARLY, Kind.TAMPERED)


@dataclass(frozen=True)
class Said:
    """What the made-up person says. `responder` None is the kind's own default."""

    responder: str | None = None
    comment: str | None = None
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Delivery:
    """One message, what it is, and the answer it should get."""

    what: str
    body: bytes = field(repr=False)
    status: int
    result: str | None


PERSON = "trigger@localhost"
SYSTEM = "system"

_BY_DEFAULT = "an approval by a configured default, no person"
_TOO_LATE = "a notice that nobody answered in time"
_TAMPERED = "an approval, one byte changed after signing"


def deliveries(
    kind: Kind, key: SigningKey, pause_id: str, said: Said, now: datetime
) -> list[Delivery]:
    """What to send for this kind, one after another; `now` is when it was decided."""
    approval = _signed(key, _answer("approved", pause_id, said, now))
    rejection = _signed(key, _answer("rejected", pause_id, said, now))
    approved = _accepted("an approval by a person", approval)
    return {
        Kind.APPROVED: [approved],
        Kind.EARLY: [approved],
        Kind.REJECTED: [_accepted("a rejection by a person", rejection)],
        Kind.FALLBACK: [_accepted(_BY_DEFAULT, _signed(key, _default(pause_id, said, now)))],
        Kind.EXPIRED: [_accepted(_TOO_LATE, _signed(key, _expired(pause_id, now)))],
        Kind.DUPLICATE: [approved, Delivery("the same bytes again", approval, 200, "duplicate")],
        Kind.CONFLICT: [
            approved,
            Delivery("a rejection of the same pause", rejection, 200, "conflict"),
        ],
        Kind.TAMPERED: [Delivery(_TAMPERED, _with_a_byte_changed(approval, _iso(now)), 401, None)],
    }[kind]


def made_up_pause_id() -> str:
    """A pause that no thread has asked."""
    return f"pause_trigger_{secrets.token_hex(8)}"


def _accepted(what: str, body: bytes) -> Delivery:
    return Delivery(what, body, 202, "accepted")


def _signed(key: SigningKey, document: Mapping[str, Any]) -> bytes:
    return json.dumps(key.sign(document)).encode()


def _answer(decision: str, pause_id: str, said: Said, now: datetime) -> dict[str, Any]:
    answer = {
        "pause_id": pause_id,
        "status": "responded",
        "decision": decision,
        "authorization_type": "human",
        "human_response": True,
        "responder": PERSON if said.responder is None else said.responder,
        "responded_at": _iso(now),
    }
    optional = {"comment": said.comment, "fields": said.fields}
    return {**answer, **{name: value for name, value in optional.items() if value is not None}}


def _default(pause_id: str, said: Said, now: datetime) -> dict[str, Any]:
    answer = _answer("approved", pause_id, said, now)
    nobody = {"authorization_type": "system_fallback", "human_response": False}
    return {**answer, **nobody, "responder": SYSTEM if said.responder is None else said.responder}


def _expired(pause_id: str, now: datetime) -> dict[str, Any]:
    return {"pause_id": pause_id, "status": "expired", "responded_at": _iso(now)}


def _with_a_byte_changed(body: bytes, time: str) -> bytes:
    """Another last digit in the time of the decision, where it is what was signed."""
    place = body.rfind(time.encode()) + len(time) - 2
    digit = b"%d" % ((int(body[place : place + 1]) + 1) % 10)
    return body[:place] + digit + body[place + 1 :]


def _iso(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
