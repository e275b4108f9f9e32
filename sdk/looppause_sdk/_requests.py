"""Requests to LoopPause, built and checked before anything is sent. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ._json import parse_object
from ._settings import url_fault
from .errors import LoopPauseConfigError, ProofMalformed
from .proof import MAX_PAUSE_ID

__all__ = ["Question", "Request", "create_request", "is_pause_id", "look_request"]

MAX_TIMEOUT_HOURS = 24 * 3660
MAX_KEY = 255


@dataclass(frozen=True)
class Question:
    """What `create_pause` was called with, under the same names."""

    agent_id: str
    action: Mapping[str, Any]
    recipients: Sequence[Mapping[str, Any]]
    idempotency_key: str
    webhook_url: str | None = None
    form: Mapping[str, Any] | None = None
    timeout_hours: float = 24
    escalation: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Request:
    """One call to the API; `path` comes after the base URL, `headers` without the API key.

    Or, `to_receiver`, one to the receiver, whose address and token are others.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    to_receiver: bool = False


def create_request(question: Question, *, webhook_url: str | None) -> Request:
    """Ask the question; `webhook_url` is for a question that names none.

    Raises one `LoopPauseConfigError` that names every argument which cannot be sent.
    """
    faults = _faults(question)
    body: dict[str, Any] = {
        "agent_id": question.agent_id,
        "action": question.action,
        "recipients": question.recipients,
        "timeout_hours": question.timeout_hours,
        "webhook_url": webhook_url if question.webhook_url is None else question.webhook_url,
        "form": question.form,
        "escalation": question.escalation,
        "metadata": question.metadata,
    }
    members = [_member(name, value, faults) for name, value in body.items() if value]
    if faults:
        raise LoopPauseConfigError("the pause cannot be created: " + "; ".join(faults))
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": question.idempotency_key,
    }
    return Request("POST", "/v1/pauses", headers, ("{" + ",".join(members) + "}").encode())


def look_request(pause_id: str) -> Request:
    """Look at a pause. Raises `LoopPauseConfigError` if there can be no such pause id."""
    # "." and ".." would be taken out of the path, and another resource be asked for.
    if not is_pause_id(pause_id) or pause_id in (".", ".."):
        raise LoopPauseConfigError("pause_id must be what create_pause returned")
    return Request("GET", "/v1/pauses/" + quote(pause_id, safe=""))


def is_pause_id(value: object) -> bool:
    """Whether `value` can name a pause."""
    return isinstance(value, str) and 0 < len(value) <= MAX_PAUSE_ID and value.isprintable()


def _faults(question: Question) -> list[str]:
    checks = {
        "agent_id": _text_fault(question.agent_id),
        "action": None if question.action else "is empty: say what is to be approved",
        "recipients": _recipients_fault(question.recipients),
        "idempotency_key": _key_fault(question.idempotency_key),
        "webhook_url": url_fault(question.webhook_url) if question.webhook_url else None,
        "timeout_hours": _hours_fault(question.timeout_hours),
    }
    for name in ("action", "form", "escalation", "metadata"):
        if not isinstance(getattr(question, name) or {}, Mapping):
            checks[name] = "must be a mapping, as for a JSON object"
    return [f"{name} {fault}" for name, fault in checks.items() if fault]


def _text_fault(text: object) -> str | None:
    return None if isinstance(text, str) and text.strip() else "must be a string, not empty"


def _key_fault(key: object) -> str | None:
    if isinstance(key, str) and 0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable():
        return None if key == key.strip() else "must not have spaces around it"
    return f"must be 1 to {MAX_KEY} printable ASCII characters: see stable_idempotency_key"


def _hours_fault(hours: object) -> str | None:
    number = isinstance(hours, (int, float)) and not isinstance(hours, bool)
    if number and 0 < hours <= MAX_TIMEOUT_HOURS:  # type: ignore[operator]  # a number, above
        return None
    return f"must be a number of hours above 0, at most {MAX_TIMEOUT_HOURS}"


def _recipients_fault(recipients: object) -> str | None:
    if not isinstance(recipients, Sequence) or isinstance(recipients, (str, bytes)):
        return "must be a list"
    if not recipients:
        return "is empty: name at least one person or channel to ask"
    for place, recipient in enumerate(recipients):
        members = recipient if isinstance(recipient, Mapping) else {}
        if _text_fault(members.get("channel")) or _text_fault(members.get("target")):
            return f"[{place}] must have a `channel` (slack or email) and a `target`"
    return None


def _member(name: str, value: Any, faults: list[str]) -> str:
    """Write one member of the body; what cannot be written is added to `faults`."""
    outer = dict(value) if isinstance(value, Mapping) else value
    try:
        text = json.dumps({name: outer}, allow_nan=False, ensure_ascii=False, default=_as_json)
        # Read back as a proof would be: neither two members of one name nor endless depth.
        parse_object(text.encode())
    except (TypeError, ValueError, RecursionError, ProofMalformed) as error:
        if not any(fault.startswith(name) for fault in faults):
            faults.append(f"{name} cannot be sent as JSON: {str(error)[:120]}")
        return ""
    return text[1:-1]


def _as_json(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form, convert it first")
