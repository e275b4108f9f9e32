"""`resumer dev`: everything on one machine, and an agent that asks."""

from __future__ import annotations

from .session import Dev

__all__ = ["Dev"]
