"""Resumer wakes a hibernating thread exactly once, on a genuine signed decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lifespans import lifespans

__all__ = ["Resumer", "lifespans"]

if TYPE_CHECKING:
    from .app import Resumer
else:

    def __getattr__(name: str) -> type:
        """Load `Resumer` when it is asked for: most commands have no use for all it needs."""
        if name != "Resumer":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .app import Resumer  # noqa: PLC0415 - a second's work, for whoever asks

        return Resumer
