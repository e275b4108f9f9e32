"""Graphs that run on a LangGraph server: located there, and resumed by the server's own runs."""

from __future__ import annotations

from .opening import open_remotes
from .pauses import RemotePauses

__all__ = ["RemotePauses", "open_remotes"]
