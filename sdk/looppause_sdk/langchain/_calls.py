"""A tool call of LangChain's as a person sees it, and what the model is told of its end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import PydanticUndefined

from looppause_sdk.approval import ToolCall

Result = TypeVar("Result")

__all__ = ["answer", "called", "invalid", "noted", "shown"]


def called(
    tool: BaseTool | None,
    name: str,
    arguments: Mapping[str, Any],
    call_id: str | None,
    state: Any = None,
) -> ToolCall:
    """The call as a person is to see it. Raises what `shown` raises."""
    visible = shown(tool, arguments)
    written = {name: value for name, value in arguments.items() if name in visible}
    return ToolCall(name, visible, call_id, state, written)


def shown(tool: BaseTool | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the tool will take them: converted, with defaults, none that are injected.

    Raises pydantic's `ValidationError` if the tool cannot be called like that.
    """
    schema: Any = tool.tool_call_schema if tool is not None else None
    if tool is None or not _is_model(schema):
        return {k: v for k, v in arguments.items() if not isinstance(v, ToolRuntime)}
    whole: Any = tool.get_input_schema()
    visible = set(schema.model_fields)
    injected = set(whole.model_fields) - visible
    given = {
        name: value
        for name, value in arguments.items()
        if name not in injected and not isinstance(value, ToolRuntime)
    }
    if not injected:
        return {**given, **_validated(whole, given)}
    try:
        validated = _validated(_without(whole, frozenset(injected)), given)
    except Exception:  # noqa: BLE001  # the tool's own validators may miss what is not injected yet
        return given
    return {**given, **{name: value for name, value in validated.items() if name in visible}}


def invalid(error: ValidationError, tool: str) -> str:
    """What the model is told of a call that no person needs to see. Shows no values."""
    faults = "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return f"{tool} was not run, because its arguments are not valid: {faults}. Correct them."


def answer(text: str, tool: str, call_id: str) -> ToolMessage:
    """The message that answers the model's call in place of the tool's result."""
    return ToolMessage(text, name=tool, tool_call_id=call_id, status="error")


def noted(result: Result, edits: Mapping[str, Any]) -> Result:
    """The tool's result, which says what a person changed before the tool ran."""
    if not edits or not isinstance(result, ToolMessage) or not isinstance(result.content, str):
        return result
    changes = ", ".join(f"{name}={value!r}" for name, value in edits.items())
    how = "and it failed" if result.status == "error" else "before it ran. Its result"
    note = f"The reviewer changed this call to {changes} {how}:\n"
    return cast("Result", result.model_copy(update={"content": note + result.content}))


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


@lru_cache(maxsize=256)
def _without(schema: type[BaseModel], injected: frozenset[str]) -> type[BaseModel]:
    """The schema with its validators, which may convert, for a call nothing was injected in yet."""
    optional: dict[str, Any] = dict.fromkeys(injected, (Any, None))
    return create_model(schema.__name__, __base__=schema, **optional)


def _validated(schema: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with defaults, save those that are made anew each time."""
    model = schema.model_validate(dict(arguments))
    defaults = {
        name: field.default
        for name, field in schema.model_fields.items()
        if name not in model.model_fields_set and field.default is not PydanticUndefined
    }
    return {**defaults, **model.model_dump(exclude_unset=True)}
