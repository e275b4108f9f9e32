"""What is kept about one pause, and what follows from it. Pure: time comes in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from looppause_sdk.errors import LoopPauseRequestError

from ._requests import read_answer

__all__ = [
    "WAITING",
    "Document",
    "check_same_question",
    "default_answer",
    "due_at",
    "iso",
    "new_document",
    "parse_iso",
    "public",
    "why_ended",
]

Document = dict[str, Any]
WAITING = ("pending", "delivered")


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a `Z`, to the millisecond."""
    text = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """Read what `iso` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def new_document(asked: Document, key: str | None, now: datetime) -> Document:
    expires_at = now + timedelta(hours=asked["timeout_hours"])
    return {
        "pause_id": _pause_id(now),
        "status": "pending",
        "created_at": iso(now),
        "expires_at": iso(expires_at),
        "escalated_at": None,
        "ended_at": None,
        "idempotency_key": key,
        "request": asked,
        "proof": None,
        "notes": {},
    }


def public(document: Document) -> Document:
    # Nothing unsigned may stand beside a proof: the HMAC covers every member there is.
    if document["proof"] is not None:
        return dict(document["proof"])
    members = ("pause_id", "status", "created_at", "expires_at")
    shown = {member: document[member] for member in members}
    return {**shown, "timeout_hours": document["request"]["timeout_hours"]}


def due_at(document: Document) -> datetime:
    expires_at = parse_iso(document["expires_at"])
    escalation = document["request"].get("escalation")
    if not escalation or document["escalated_at"] is not None:
        return expires_at
    if not escalation.get("escalate_to") and not escalation.get("fallback_action"):
        return expires_at
    after = timedelta(hours=escalation["after_hours"])
    return min(expires_at, parse_iso(document["created_at"]) + after)


def default_answer(escalation: Mapping[str, Any]) -> tuple[str, Document]:
    """The status and answer of a pause that nobody answered."""
    fallback = escalation.get("fallback_action")
    if fallback is None:
        return "timed_out", {}
    decision = "approved" if fallback == "auto_approve" else "rejected"
    return "responded", read_answer(decision, "system", None, None, "system_fallback", None)


def check_same_question(asked: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    for member in ("agent_id", "action", "form"):
        if asked.get(member) != before.get(member):
            raise LoopPauseRequestError(
                f"this Idempotency-Key was used for another question: `{member}` differs. "
                "Use a new key for a new question",
                status_code=422,
            )


def why_ended(document: Document) -> str:
    if document["status"] != "responded":
        return f"the pause has ended: {document['status']}"
    proof = document["proof"]
    return f"already {proof['decision']} by {proof['responder']}: the first decision stands"


def _pause_id(now: datetime) -> str:
    """`pause_` and 26 characters that sort by time, as a ULID's do."""
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "pause_" + "".join(_BASE32[(number >> shift) & 31] for shift in range(125, -1, -5))


_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
