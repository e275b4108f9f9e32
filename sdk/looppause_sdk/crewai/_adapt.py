"""What may be gated, as CrewAI's own kind of tool."""

from __future__ import annotations

from typing import Any

from crewai.tools import BaseTool
from crewai.tools.base_tool import Tool

from looppause_sdk.errors import LoopPauseConfigError

from ._stopping import StoppingTool

__all__ = ["as_base_tool"]

_KEPT = ("result_as_answer", "max_usage_count", "tool_failure_policy")


def as_base_tool(tool: Any) -> BaseTool:
    """The tool, or a CrewAI tool around its `func`, as an agent's `tools` would take it.

    Raises `LoopPauseConfigError` for what is none, or is gated already.
    """
    if isinstance(tool, StoppingTool):
        raise LoopPauseConfigError(f"{tool.name} asks a person already: it needs no second gate")
    if isinstance(tool, BaseTool):
        return tool
    if isinstance(getattr(tool, "name", None), str) and callable(getattr(tool, "func", None)):
        return _around_func(tool)
    raise LoopPauseConfigError(
        f"gated takes a CrewAI tool, not {type(tool).__name__}: derive from "
        "crewai.tools.BaseTool, or decorate a function with crewai.tools.tool"
    )


def _around_func(tool: Any) -> BaseTool:
    adapted = Tool.from_langchain(tool)
    for name in _KEPT:
        if (value := getattr(tool, name, None)) is not None:
            setattr(adapted, name, value)
    return adapted
