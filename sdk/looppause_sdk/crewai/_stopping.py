"""A tool that stops its crew where an exception would not."""

from __future__ import annotations

from typing import Any

from crewai.tools import BaseTool, ToolFailure, ToolFailurePolicy
from crewai.tools.structured_tool import CrewStructuredTool
from typing_extensions import override

from looppause_sdk.errors import LoopPauseUnavailable

__all__ = ["Denial", "StoppingTool", "never_cached"]


def never_cached(_arguments: Any = None, _result: Any = None) -> bool:
    """An answer is given to one call and is never given to another."""
    return False


class Denial(str):
    """What the LLM is told instead of a result; told apart from text a tool returned."""

    __slots__ = ()


class StoppingTool(BaseTool):
    """Stops the crew when no decision could be had.

    An exception would not: CrewAI makes text of it, the LLM goes on, and under ReAct the tool is
    called six times first. A `ToolFailure` under the policy `raise` ends the run. The policy is
    the tool's own until then, so that bad arguments or a spent `max_usage_count` still reach the
    LLM as text; it stays at `raise` afterwards, since a parallel call may report its failure any
    time.
    """

    def stopped(self, error: Exception) -> ToolFailure:
        """The result that ends the run, saying why."""
        self.tool_failure_policy = ToolFailurePolicy.RAISE
        return ToolFailure(
            message=f"{self.name} got no decision, so nothing was run: {error}",
            code=type(error).__name__,
            retryable=isinstance(error, LoopPauseUnavailable),
        )

    @override
    def to_structured_tool(self) -> CrewStructuredTool:
        """As CrewAI's, but it asks this tool for its policy instead of keeping today's."""
        structured = super().to_structured_tool()
        structured.tool_failure_policy = None
        return structured
