"""The conditional edge behind a gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

__all__ = ["route_on_gate"]


def route_on_gate(state_key: str = "looppause") -> Callable[[Any], Literal["approved", "halt"]]:
    """Return a conditional edge: `approved` only where the gate's result says so, else `halt`.

    Reads state that is a mapping, a dataclass or a pydantic model; whatever is missing halts.
    """

    def looppause_route(state: Any) -> Literal["approved", "halt"]:
        approved = _member(_member(state, state_key), "approved")
        return "approved" if approved is True else "halt"

    return looppause_route


def _member(container: Any, name: str) -> Any:
    if isinstance(container, Mapping):
        return container.get(name)
    return getattr(container, name, None)
