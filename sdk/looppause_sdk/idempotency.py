"""A key that is the same for the same question, in every process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Set
from datetime import date, time, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["stable_idempotency_key"]


def stable_idempotency_key(*parts: Any) -> str:
    """Return `idem_` and 32 hex digits: the same for the same parts on every machine.

    Takes whatever JSON has (and gives it the key looppause 0.1.0 gave), plus sets, bytes, dates,
    times, `Decimal`, `UUID`, paths, enums, dataclasses and pydantic models. Raises `TypeError`
    for any other object, since its text may differ from process to process.
    """
    text = json.dumps(_stable(parts), sort_keys=True, separators=(",", ":"))
    return "idem_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _stable(value: Any) -> Any:
    if isinstance(value, Enum):
        return _marked(value, _stable(value.value))
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return _members(value)
    if isinstance(value, (list, tuple)):
        return [_stable(item) for item in value]
    return _marked(value, _content(value))


def _members(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    members = {_member_name(key): _stable(item) for key, item in mapping.items()}
    if len(members) != len(mapping):
        raise TypeError("two members of a mapping have the same name as text: name them apart")
    return members


def _content(value: Any) -> Any:
    # Both take a tenth of what httpx does to import, and most questions are plain JSON.
    from decimal import Decimal  # noqa: PLC0415 - as above
    from uuid import UUID  # noqa: PLC0415 - as above

    if isinstance(value, Set):
        return sorted((_stable(item) for item in value), key=json.dumps)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (Decimal, UUID, PurePath, timedelta)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _stable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return _stable(dump())
    raise TypeError(
        f"{type(value).__name__} has no text that is the same in every process: "
        "pass its JSON form to stable_idempotency_key instead"
    )


def _marked(value: Any, content: Any) -> dict[str, Any]:
    # Marked with its type, so that Decimal("1") and "1" are different questions.
    return {f"${type(value).__name__}": content}


def _member_name(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    return json.dumps(_stable(key), sort_keys=True, separators=(",", ":"))
