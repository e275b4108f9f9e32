"""Gate a function: a task of the functional API, or one that a node calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import StreamWriter

from looppause_sdk.approval import Approval, ToolCall
from looppause_sdk.errors import ApprovalDenied, LoopPauseConfigError
from looppause_sdk.gate import GateResult

from ._calls import GatedCalls, check_client
from ._gates import Client

__all__ = ["requires_approval"]

F = TypeVar("F", bound=Callable[..., Any])

INJECTED = (RunnableConfig, "RunnableConfig", StreamWriter, "StreamWriter")

_DENIED = "looppause_denied"


def requires_approval(client: Client, **approval: Any) -> Callable[[F], F]:
    """Let the decorated function run only with a person's approval of its arguments.

    For tasks of the functional API and functions that a node calls, sync or async. `approval` are
    the settings of `Approval`; `agent_id` and `recipients` must be given::

        @task
        @requires_approval(client, agent_id="billing", recipients=[...])
        def pay(amount: int, to: str) -> str: ...

    The thread hibernates until a genuine answer comes. Approved, the function runs with the
    arguments that were shown and the person's edits to `fields`, once: a node that runs again for
    the sake of another gate gets what it returned. Otherwise `ApprovalDenied` is raised, with the
    `GateResult`. `self`, `cls` and what LangGraph injects are not shown.

    Traps: what stands before the call in the same node runs again on resume, and must come to the
    same arguments, else the answer counts for nothing (`action_changed`); give each of several
    calls that threads make side by side a function of its own, since nothing else tells them
    apart. Raises `LoopPauseConfigError` for settings that cannot be used.
    """
    check_client(client)

    def decorate(function: F) -> F:
        if not inspect.isroutine(function):
            raise LoopPauseConfigError(
                "requires_approval decorates a function: put it below @task or @tool"
            )
        name = function.__name__
        settings = Approval.of(approval, tool=name)
        settings.check_fields(inspect.signature(function).parameters, tool=name)
        gate = GatedCalls(client, settings)
        form = _gated_async if inspect.iscoroutinefunction(function) else _gated
        return cast("F", wraps(function)(form(function, name, gate)))

    return decorate


def _gated(function: Any, name: str, gate: GatedCalls) -> Callable[..., Any]:
    signature = inspect.signature(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound, asked = _call(signature, name, args, kwargs)

        def act(edits: dict[str, Any]) -> Any:
            bound.arguments.update(edits)
            return function(*bound.args, **bound.kwargs)

        return _or_raise(gate.run(asked, act, _denied), gate, asked)

    return call


def _gated_async(function: Any, name: str, gate: GatedCalls) -> Callable[..., Any]:
    signature = inspect.signature(function)

    async def call(*args: Any, **kwargs: Any) -> Any:
        bound, asked = _call(signature, name, args, kwargs)

        async def act(edits: dict[str, Any]) -> Any:
            bound.arguments.update(edits)
            return await function(*bound.args, **bound.kwargs)

        return _or_raise(await gate.arun(asked, act, _denied), gate, asked)

    return call


def _call(
    signature: inspect.Signature, name: str, args: Any, kwargs: Any
) -> tuple[inspect.BoundArguments, ToolCall]:
    """The arguments by name, and the call as a person is to see it."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    shown = {
        parameter: value
        for parameter, value in bound.arguments.items()
        if not _is_hidden(signature.parameters[parameter], value)
    }
    return bound, ToolCall(name, shown)


def _is_hidden(parameter: inspect.Parameter, value: Any) -> bool:
    """Whether it is the method's own object, or one of those that LangGraph injects."""
    if parameter.name in ("self", "cls") or isinstance(value, (Runtime, BaseStore)):
        return True
    return parameter.annotation in INJECTED


def _denied(result: GateResult) -> dict[str, Any]:
    return {_DENIED: dict(result)}


def _or_raise(outcome: Any, gate: GatedCalls, call: ToolCall) -> Any:
    if isinstance(outcome, dict) and set(outcome) == {_DENIED}:
        result = outcome[_DENIED]
        raise ApprovalDenied(gate.approval.denial(call, result), result=result)
    return outcome
