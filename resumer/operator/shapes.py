"""What the API sends: as JSON, and as schemas for its document, from the same dataclasses.

By pydantic, which LangGraph brings along: it reads plain dataclasses as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from resumer.model import State

from .explaining import Explanation
from .views import AuditEntry, Detail, Held, Overview, Page

__all__ = ["Audit", "Discarded", "Matching", "Refusal", "Retried", "json_of", "schemas"]


@dataclass(frozen=True)
class Refusal:
    """Why not. `parameter` names what is wrong with the request, where it is that."""

    error: str
    parameter: str | None = None


@dataclass(frozen=True)
class Retried:
    """Whether this call had the pause taken up again; false if it was on its way already."""

    pause_id: str
    retried: bool


@dataclass(frozen=True)
class Discarded:
    """Whether this call discarded the pause; false if it was discarded before."""

    pause_id: str
    discarded: bool


@dataclass(frozen=True)
class Matching:
    """The pauses that were taken up again, or would be: those that are parked or failed."""

    dry_run: bool
    count: int
    pause_ids: list[str]


@dataclass(frozen=True)
class Audit:
    """The latest acts, the last one first."""

    entries: list[AuditEntry]


Sent = Overview | Page | Detail | Explanation | Held | Audit | Retried | Discarded | Matching
_SENT: tuple[type[Any], ...] = (
    Overview,
    Page,
    Detail,
    Explanation,
    Held,
    Audit,
    Retried,
    Discarded,
    Matching,
    Refusal,
)


def json_of(value: Sent | Refusal) -> bytes:
    """The value as JSON, times in ISO 8601."""
    return _adapters()[type(value)].dump_json(value)


def schemas() -> Mapping[str, Any]:
    """Every schema by its name, for `#/components/schemas`."""
    mode: Literal["serialization"] = "serialization"
    inputs = [(kind.__name__, mode, adapter) for kind, adapter in _adapters().items()]
    _, found = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    return {**found["$defs"], "State": {"type": "string", "enum": [str(state) for state in State]}}


@cache
def _adapters() -> Mapping[type, TypeAdapter[Any]]:
    return {kind: TypeAdapter(kind) for kind in _SENT}
