"""Resumer wakes a hibernating thread exactly once, on a genuine signed decision."""

from __future__ import annotations

from .app import Resumer
from .lifespans import lifespans

__all__ = ["Resumer", "lifespans"]
