"""Gate the tools of an agent made by `create_agent`, by their names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from pydantic import ValidationError
from typing_extensions import override

from looppause_sdk.approval import Approval, ToolCall
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.gate import GateResult
from looppause_sdk.langgraph._calls import GatedCalls, check_client
from looppause_sdk.langgraph._gates import Client

from ._calls import answer, called, invalid, noted

__all__ = ["ApprovalMiddleware"]

Result = ToolMessage | Command[Any]


class ApprovalMiddleware(AgentMiddleware[Any, Any, Any]):
    """No call of these tools without a person's approval.

    `tools` names them, or maps their names to settings of `Approval` (`{}` or True for none of
    their own); `defaults` are settings for all of them. `agent_id` and `recipients` must be among
    them::

        ApprovalMiddleware(
            client,
            {"pay": {"when": lambda args: args["amount"] > 1000}, "delete_account": {}},
            agent_id="billing",
            recipients=[{"channel": "slack", "target": "#finance"}],
        )

    Every call asks once, with its own arguments, and hibernates until its own answer comes, in
    whatever order. Approved, the tool runs with the arguments that were shown and the person's
    edits to `fields`; otherwise the model gets an error message with the person's comment, and
    goes on. A forged or foreign answer raises at whoever resumed, and the thread stays paused.
    Callables among the settings get a `ToolCall` whose `state` is the agent's.

    Traps: subagents do not inherit it (deepagents' general-purpose one does not): use
    `gate_tool` there. List it before middleware that retries tools. The agent needs a
    checkpointer: calls raise `NoCheckpointer` without one.

    Raises `LoopPauseConfigError` for settings that cannot be used; for a name that no tool of the
    agent has, and for `fields` that are no arguments, before the first tool runs.
    """

    def __init__(
        self,
        client: Client,
        tools: Mapping[str, Mapping[str, Any] | bool] | Iterable[str],
        **defaults: Any,
    ) -> None:
        super().__init__()
        check_client(client)
        self._gates = {
            name: GatedCalls(client, Approval.of({**defaults, **own}, tool=name))
            for name, own in _by_name(tools).items()
        }

    def _gate_for(self, request: ToolCallRequest) -> GatedCalls | None:
        _require_tools(self._gates, request)
        return self._gates.get(request.tool_call["name"])

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        gate = self._gate_for(request)
        if gate is None:
            return handler(request)
        try:
            call = _call(request)
        except ValidationError as error:
            return _invalid(request, error)

        def act(edits: dict[str, Any]) -> Any:
            return noted(handler(_edited(request, edits)), edits)

        result: Result = gate.run(call, act, _denial_of(gate, call))
        return result

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        gate = self._gate_for(request)
        if gate is None:
            return await handler(request)
        try:
            call = _call(request)
        except ValidationError as error:
            return _invalid(request, error)

        async def act(edits: dict[str, Any]) -> Any:
            return noted(await handler(_edited(request, edits)), edits)

        result: Result = await gate.arun(call, act, _denial_of(gate, call))
        return result


def _require_tools(gates: Mapping[str, GatedCalls], request: ToolCallRequest) -> None:
    """A misspelt name would leave its tool without a gate, and nobody would notice."""
    tools = {tool.name: tool for tool in request.runtime.tools}
    if not tools:
        return
    if unknown := sorted(set(gates) - set(tools)):
        raise LoopPauseConfigError(
            f"ApprovalMiddleware gates {', '.join(unknown)}, which this agent does not have: "
            f"it has {', '.join(sorted(tools))}"
        )
    for name, gate in gates.items():
        if gate.approval.fields:  # a schema of the arguments is made on each look
            gate.approval.check_fields(tools[name].args, tool=name)


def _call(request: ToolCallRequest) -> ToolCall:
    call = request.tool_call
    return called(request.tool, call["name"], call["args"], call["id"], request.state)


def _by_name(tools: Any) -> dict[str, Mapping[str, Any]]:
    named = dict(tools) if isinstance(tools, Mapping) else {key: {} for key in _names(tools)}
    if not named:
        raise LoopPauseConfigError(
            'ApprovalMiddleware was given no tools to gate: name them, e.g. {"pay": {}}'
        )
    for name, own in named.items():
        if own is not True and not isinstance(own, Mapping):
            raise LoopPauseConfigError(
                f"the approval of {name} must be its settings, or {{}} for none, not {own!r}"
            )
    return {name: {} if own is True else own for name, own in named.items()}


def _names(tools: Any) -> list[str]:
    return [tools] if isinstance(tools, str) else list(tools)


def _edited(request: ToolCallRequest, edits: Mapping[str, Any]) -> ToolCallRequest:
    call = request.tool_call
    return request.override(tool_call={**call, "args": {**call["args"], **edits}})


def _denial_of(gate: GatedCalls, call: ToolCall) -> Callable[[GateResult], ToolMessage]:
    return lambda denied: answer(gate.approval.denial(call, denied), call.tool, call.id or "")


def _invalid(request: ToolCallRequest, error: ValidationError) -> ToolMessage:
    name, call_id = request.tool_call["name"], request.tool_call["id"]
    return answer(invalid(error, name), name, call_id or "")
