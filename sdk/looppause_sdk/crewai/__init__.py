"""Approvals for CrewAI: `gated` for the tool that acts, `HumanApprovalTool` for the rest.

Flows that hibernate are in `looppause_sdk.crewai.flows`.
"""

from __future__ import annotations

from .ask_tool import HumanApprovalInput, HumanApprovalTool
from .gated import gated

__all__ = ["HumanApprovalInput", "HumanApprovalTool", "gated"]
