"""Text and JSON as PostgreSQL takes them: what others wrote may hold what it refuses."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["as_id", "storable", "storable_json"]

MOST_JSON = 64 * 1024


def as_id(value: Any) -> str | None:
    """The value if it is text that can be looked up as an id, else None."""
    return value if isinstance(value, str) and value and "\0" not in value else None


def storable(text: str) -> str:
    """The text without NUL and unpaired surrogates; signed bytes keep the original."""
    return (
        text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    )


def storable_json(value: Any) -> str | None:
    """The value as JSON text for a column of it, or None for what cannot be kept there.

    What has more than `MOST_JSON` characters is left out, too: it is kept to be shown.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    if len(text) > MOST_JSON:
        return None
    # NUL is escaped by now, and so missed by `storable`. What was an escaped backslash before
    # "u0000" stays one: the text is another, and JSON all the same.
    return storable(text).replace("\\u0000", "\\ufffd")
