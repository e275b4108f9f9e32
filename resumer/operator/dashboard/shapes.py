"""How a value that an agent made up is laid out: what is short first, lists of alike as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["besides_heading", "columns", "flat_first", "is_deep", "is_tabular"]

MOST_COLUMNS = 6


def is_deep(value: Any) -> bool:
    """Whether a value needs lines of its own."""
    return isinstance(value, (dict, list)) and bool(value)


def flat_first(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The members, those that need one line before the others."""
    return sorted(value.items(), key=lambda member: is_deep(member[1]))


def besides_heading(action: Mapping[str, Any]) -> Any:
    """What an action says beyond its type and description, which head the page."""
    rest = {name: value for name, value in action.items() if name not in _IN_HEADING}
    if list(rest) == ["details"] and rest["details"]:
        return rest["details"]
    return rest or action


_IN_HEADING = ("type", "description")


def is_tabular(value: Any) -> bool:
    """Whether a list reads best as a table: at least two flat objects with the same members."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    if not all(isinstance(row, dict) and row.keys() == value[0].keys() for row in value):
        return False
    cells = [cell for row in value for cell in row.values()]
    return 0 < len(value[0]) <= MOST_COLUMNS and not any(map(is_deep, cells))


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of a table's columns, numbers on the right."""
    return sorted(rows[0], key=lambda name: isinstance(rows[0][name], (int, float)))
