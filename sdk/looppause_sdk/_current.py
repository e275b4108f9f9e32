"""The approval that a gated call runs with: kept apart, since asking for it needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from .errors import GateError

if TYPE_CHECKING:
    from .gate import GateResult

__all__ = ["approved", "current_approval"]

_current: ContextVar[GateResult] = ContextVar("looppause_current_approval")


def current_approval() -> GateResult:
    """The approval that the gated tool or function runs with, which is who asks this.

    Hand its `pause_id` to the payment provider as the idempotency key: a process that dies inside
    the tool runs it again. Raises `GateError` if no gated call is running.
    """
    try:
        return _current.get()
    except LookupError:
        raise GateError(
            "no approved call is running here: this one needed no approval (`when`), or has no gate"
        ) from None


@contextmanager
def approved(result: GateResult) -> Iterator[None]:
    """Run what is inside with this approval."""
    token = _current.set(result)
    try:
        yield
    finally:
        _current.reset(token)
