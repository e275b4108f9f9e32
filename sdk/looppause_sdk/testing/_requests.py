"""Read what a client sends: a usable value, or a `LoopPauseRequestError` that says what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from looppause_sdk.errors import LoopPauseRequestError

from ._signing import json_copy

__all__ = ["bad_request", "read_answer", "read_idempotency_key", "read_request"]

MAX_TIMEOUT_HOURS = 24 * 365
MAX_IDEMPOTENCY_KEY = 255
FALLBACK_ACTIONS = ("auto_approve", "auto_reject")


def bad_request(message: str) -> LoopPauseRequestError:
    return LoopPauseRequestError(message, status_code=400)


def read_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the question in `request` with its defaults; members we do not know are kept."""
    asked: dict[str, Any] = _json_object(request, "the body")
    _require_text(asked, "agent_id")
    _check_action(asked)
    _check_recipients(asked)
    _check_webhook_url(asked)
    asked["timeout_hours"] = _hours(asked.get("timeout_hours", 24), "timeout_hours")
    for member in ("form", "escalation", "metadata"):
        if not isinstance(asked.get(member), (dict, type(None))):
            raise bad_request(f"`{member}` must be an object or left out")
    _check_escalation(asked.get("escalation"))
    return asked


def read_idempotency_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        raise bad_request(f"`Idempotency-Key` must be 1 to {MAX_IDEMPOTENCY_KEY} characters")
    return key


def read_answer(
    decision: str,
    responder: str,
    comment: str | None,
    fields: Mapping[str, Any] | None,
    authorization_type: str,
    channel: str | None,
) -> dict[str, Any]:
    """Return the members of a proof that say what was decided, checked and copied."""
    if decision not in ("approved", "rejected"):
        raise bad_request("`decision` must be 'approved' or 'rejected'")
    if authorization_type not in ("human", "system_fallback"):
        raise bad_request("`authorization_type` must be 'human' or 'system_fallback'")
    answer: dict[str, Any] = {
        "decision": decision,
        "authorization_type": authorization_type,
        "human_response": authorization_type == "human",
        "responder": responder,
        "channel": channel,
        "comment": comment,
        "fields": fields,
    }
    _require_text(answer, "responder")
    for member in ("comment", "channel"):
        if not isinstance(answer[member], (str, type(None))):
            raise bad_request(f"`{member}` must be a text or left out")
    if not isinstance(fields, (Mapping, type(None))):
        raise bad_request("`fields` must be an object or left out")
    return _json_object({**answer, "fields": fields if fields is None else dict(fields)}, "it")


def _json_object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise bad_request(f"{name} must be a JSON object")
    try:
        copy: dict[str, Any] = json_copy(dict(value))
    except ValueError as error:
        raise bad_request(f"{name} must be a JSON object: {error}") from error
    return copy


def _require_text(holder: Mapping[str, Any], member: str, prefix: str = "") -> None:
    value = holder.get(member)
    if not isinstance(value, str) or not value.strip():
        raise bad_request(f"`{prefix}{member}` must be a non-empty text")


def _check_action(asked: Mapping[str, Any]) -> None:
    action = asked.get("action")
    if not isinstance(action, dict):
        raise bad_request("`action` must be an object with `type` and `description`")
    for member in ("type", "description"):
        _require_text(action, member, "action.")


def _check_recipients(asked: Mapping[str, Any]) -> None:
    recipients = asked.get("recipients")
    if not isinstance(recipients, list) or not recipients:
        raise bad_request("`recipients` must be a list of at least one {channel, target}")
    for index, recipient in enumerate(recipients):
        where = f"recipients[{index}]"
        if not isinstance(recipient, dict):
            raise bad_request(f"`{where}` must be an object with `channel` and `target`")
        if recipient.get("channel") not in ("slack", "email"):
            raise bad_request(f"`{where}.channel` must be 'slack' or 'email'")
        _require_text(recipient, "target", f"{where}.")


def _check_webhook_url(asked: Mapping[str, Any]) -> None:
    url = asked.get("webhook_url")
    if url is None:
        return
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise bad_request("`webhook_url` must be an http:// or https:// address")


def _check_escalation(escalation: Mapping[str, Any] | None) -> None:
    if escalation is None:
        return
    if "after_hours" not in escalation:
        raise bad_request("`escalation.after_hours` is missing")
    _hours(escalation["after_hours"], "escalation.after_hours")
    if escalation.get("fallback_action") not in (None, *FALLBACK_ACTIONS):
        raise bad_request("`escalation.fallback_action` must be 'auto_approve' or 'auto_reject'")


def _hours(value: Any, member: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 < value <= MAX_TIMEOUT_HOURS:
        raise bad_request(f"`{member}` must be a number of hours, over 0, up to one year")
    hours: float = value
    return hours
