"""Gate the tools of an agent made by `create_agent`, by their names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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

    `tools` maps their names to settings of `Approval`, and `defaults` are settings for all of
    them; `agent_id` and `recipients` must be among them::

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

    Raises `LoopPauseConfigError` for settings that cannot be used. A name that no tool has is not
    found out before the model calls it.
    """

    def __init__(
        self, client: Client, tools: Mapping[str, Mapping[str, Any]], **defaults: Any
    ) -> None:
        super().__init__()
        check_client(client)
        if not tools:
            raise LoopPauseConfigError(
                'ApprovalMiddleware was given no tools to gate: name them, e.g. {"pay": {}}'
            )
        self._gates = {
            name: GatedCalls(client, Approval.of({**defaults, **own}, tool=name))
            for name, own in tools.items()
        }

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]
    ) -> Result:
        gate = self._gates.get(request.tool_call["name"])
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
        gate = self._gates.get(request.tool_call["name"])
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


def _call(request: ToolCallRequest) -> ToolCall:
    call = request.tool_call
    return called(request.tool, call["name"], call["args"], call["id"], request.state)


def _edited(request: ToolCallRequest, edits: Mapping[str, Any]) -> ToolCallRequest:
    call = request.tool_call
    return request.override(tool_call={**call, "args": {**call["args"], **edits}})


def _denial_of(gate: GatedCalls, call: ToolCall) -> Callable[[GateResult], ToolMessage]:
    return lambda denied: answer(gate.approval.denial(call, denied), call.tool, call.id or "")


def _invalid(request: ToolCallRequest, error: ValidationError) -> ToolMessage:
    name, call_id = request.tool_call["name"], request.tool_call["id"]
    return answer(invalid(error, name), name, call_id or "")
