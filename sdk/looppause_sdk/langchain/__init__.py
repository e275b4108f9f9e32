"""Gates for LangChain agents: a middleware for all their tools, or a gate at a tool itself."""

from __future__ import annotations

from .middleware import ApprovalMiddleware
from .review import signed_review
from .tools import gate_tool

__all__ = ["ApprovalMiddleware", "gate_tool", "signed_review"]
