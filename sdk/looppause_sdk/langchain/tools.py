"""Gate a tool where it acts: the gate holds in every agent, subagent and ToolNode that calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.config import get_config
from pydantic import Field, ValidationError
from typing_extensions import override

from looppause_sdk.approval import Approval, ToolCall
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.langgraph._calls import GatedCalls, check_client
from looppause_sdk.langgraph._gates import Client

from ._calls import answer, called, invalid, noted

__all__ = ["gate_tool"]

_KEPT = (
    "name",
    "description",
    "args_schema",
    "return_direct",
    "response_format",
    "tags",
    "metadata",
    "extras",
)


def gate_tool(tool: BaseTool | Callable[..., Any], client: Client, **approval: Any) -> BaseTool:
    """Return the tool with a gate before it: the same name and schema, but no call without a yes.

    `approval` are the settings of `Approval`; `agent_id` and `recipients` must be given. Each call
    asks once, with the arguments the tool was called with, and hibernates the thread until a
    genuine answer comes. Approved, the tool runs with these arguments and the person's edits to
    `fields`; otherwise the model gets an error message with the person's comment. A forged or
    foreign answer raises at whoever resumed, and the thread stays paused.

    Several gated calls in one node keep apart, and each runs once although the node runs again
    for every answer; tools without a gate that the same node calls run again, as is LangGraph's
    way. (`create_agent` gives each call a task of its own.)

    Traps: a ToolRetryMiddleware around it swallows a forged answer, and each try is a question of
    its own; the tool needs a graph with a checkpointer around it, and raises `NoCheckpointer`
    without one; a subagent with a checkpointer and thread of its own swallows the interrupt, one
    compiled with `checkpointer=False` forgets that it asked. Raises `LoopPauseConfigError` for
    settings that cannot be used.
    """
    check_client(client)
    inner = tool if isinstance(tool, BaseTool) else as_tool(tool)
    if isinstance(inner, _GatedTool):
        raise LoopPauseConfigError(f"{inner.name} has a gate already")
    settings = Approval.of(approval, tool=inner.name)
    settings.check_fields(inner.args, tool=inner.name)
    gate = GatedCalls(client, settings)
    return _GatedTool(inner=inner, gate=gate, **{name: getattr(inner, name) for name in _KEPT})


class _GatedTool(BaseTool):
    inner: BaseTool
    gate: GatedCalls = Field(exclude=True, repr=False)

    # A ToolNode reads from these what to inject.

    @property
    def func(self) -> Any:
        return getattr(self.inner, "func", None)

    @property
    def coroutine(self) -> Any:
        return getattr(self.inner, "coroutine", None)

    @override
    def get_input_schema(self, config: Any = None) -> Any:
        return self.inner.get_input_schema(config)

    @override
    def run(
        self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        given = self._named(tool_input)
        try:
            call = self._call(given, tool_call_id)
        except ValidationError as error:
            return self._answer(invalid(error, self.name), tool_call_id)

        def act(edits: dict[str, Any]) -> Any:
            options = _inside(kwargs)
            result = self.inner.run({**given, **edits}, *args, tool_call_id=tool_call_id, **options)
            return noted(result, edits)

        return self.gate.run(call, act, lambda denied: self._denied(call, denied))

    @override
    async def arun(
        self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        given = self._named(tool_input)
        try:
            call = self._call(given, tool_call_id)
        except ValidationError as error:
            return self._answer(invalid(error, self.name), tool_call_id)

        async def act(edits: dict[str, Any]) -> Any:
            options = _inside(kwargs)
            result = await self.inner.arun(
                {**given, **edits}, *args, tool_call_id=tool_call_id, **options
            )
            return noted(result, edits)

        return await self.gate.arun(call, act, lambda denied: self._denied(call, denied))

    @override
    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise LoopPauseConfigError(f"call {self.name} through `invoke` or `run`")

    def _named(self, tool_input: Any) -> dict[str, Any]:
        if isinstance(tool_input, Mapping):
            return dict(tool_input)
        return {next(iter(self.inner.args), "tool_input"): tool_input}

    def _call(self, given: dict[str, Any], tool_call_id: str | None) -> ToolCall:
        return called(self.inner, self.name, given, tool_call_id)

    def _denied(self, call: ToolCall, denied: Any) -> Any:
        return self._answer(self.gate.approval.denial(call, denied), call.id)

    def _answer(self, text: str, call_id: str | None) -> Any:
        return text if call_id is None else answer(text, self.name, call_id)


def _inside(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a tool's run, with the place in the graph where it runs now."""
    try:
        config = get_config()
    except RuntimeError:
        return options
    return {**options, "config": config, "callbacks": config.get("callbacks")}
