"""What was asked and of whom, as far as the one that hibernates says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from looppause_sdk._recipients import named

from .storable import storable_json

__all__ = ["question_columns", "question_of"]


def question_of(value: Any) -> Mapping[str, Any] | None:
    """`action` as it was written and, where the gate named them, `recipients`; None for neither."""
    if not isinstance(value, Mapping):
        return None
    recipients = [dict(recipient) for recipient in named(value.get("recipients"))]
    said = {"action": value.get("action"), "recipients": recipients or None}
    return {name: member for name, member in said.items() if member is not None} or None


def question_columns(question: Mapping[str, Any] | None) -> dict[str, str | None]:
    """The columns that keep a question: in `question` its members stay in order.

    `action` is for what looks into it, and for replicas of an older version.
    """
    action = question.get("action") if question else None
    return {
        "question": None if question is None else storable_json(question),
        "action": None if action is None else storable_json(action),
    }
