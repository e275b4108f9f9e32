"""`gated`: a tool that a person approves call by call, where it acts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from crewai.tools import BaseTool, ToolFailure, ToolFailureReason
from pydantic import PrivateAttr, ValidationError
from typing_extensions import override

from looppause_sdk.approval import Approval, Object, Recipients, ToolCall, approved
from looppause_sdk.client import LoopPauseClient
from looppause_sdk.errors import GateError, LoopPauseConfigError
from looppause_sdk.gate import GateResult

from ._adapt import as_base_tool
from ._asker import Asker, check_client, check_deadline
from ._stopping import Denial, StoppingTool, never_cached

__all__ = ["GatedTool", "gated"]


def gated(
    tool: Any,
    client: LoopPauseClient,
    *,
    agent_id: str,
    recipients: Recipients | Callable[[ToolCall], Recipients],
    when: Callable[[dict[str, Any]], bool] | None = None,
    description: str | Callable[[ToolCall], str] | None = None,
    fields: Collection[str] = (),
    form: Object | Callable[[ToolCall], Object | None] | None = None,
    escalation: Object | Callable[[ToolCall], Object | None] | None = None,
    metadata: Object | Callable[[ToolCall], Object | None] | None = None,
    timeout_hours: float = 24,
    webhook_url: str | None = None,
    require_human: bool = True,
    deadline_seconds: float | None = None,
) -> BaseTool:
    """Return the tool with the same name, description and arguments, asking before each call.

    Takes a CrewAI tool, a `@tool` function, or a tool with a `func` (`CrewStructuredTool`,
    LangChain's). Each call opens a pause of its own with its validated arguments and waits; an
    answer is never used twice. Approved, it runs with exactly those arguments, and with the
    answers to `form` that `fields` names, validated again. Otherwise the LLM is told `DENIED`,
    why, and what the reviewer wrote, and the tool does not run. Where no decision can be had
    (LoopPause away, a request refused, a proof that is not genuine, a setting that cannot be
    used), the crew stops with `ToolExecutionFailedError`: nothing ran.

    The other settings are those of `Approval`. `deadline_seconds` ends the wait before the pause's
    own end, as a denial. An agent's `max_execution_time` ends it too, and stops the crew.

    Traps: a waiting call holds its thread (so do those around it in CrewAI), and CrewAI runs at
    most eight calls of one message at a time. Whoever only stops awaiting the crew does not stop
    the call: an approval given afterwards still runs it, so set a deadline instead. Where one of
    several calls of a message stops the crew, the others still wait, and run if approved. What
    raises after the approval is told to the LLM and is not tried again. Gate every tool that can
    act: an agent that also has the bare tool, or a shell, needs no approval. Inside the tool,
    `looppause_sdk.current_approval()` says who approved; its `pause_id` is a good idempotency key.

    Raises `LoopPauseConfigError` for a tool or a setting that cannot be used, and for a tool that
    is gated already.
    """
    inner = as_base_tool(tool)
    settings = {
        "agent_id": agent_id,
        "recipients": recipients,
        "when": when,
        "description": description,
        "fields": fields,
        "form": form,
        "escalation": escalation,
        "metadata": metadata,
        "timeout_hours": timeout_hours,
        "webhook_url": webhook_url,
        "require_human": require_human,
    }
    approval = Approval.of(settings, tool=inner.name)
    check_deadline(deadline_seconds)
    _check_fields(approval, inner)
    return GatedTool.around(inner, Asker(check_client(client), approval, deadline_seconds))


@dataclass(frozen=True)
class _Go:
    """The tool may run, with these arguments."""

    arguments: dict[str, Any]
    approval: GateResult | None


class GatedTool(StoppingTool):
    """What `gated` returns; the tool and the client inside are never dumped, shown or pickled."""

    _inner: BaseTool | None = PrivateAttr(default=None)
    _asker: Asker | None = PrivateAttr(default=None)

    @classmethod
    def around(cls, inner: BaseTool, asker: Asker) -> GatedTool:
        """The gate around a tool, looking like it."""
        gate = cls(
            name=inner.name,
            description=inner.description,
            env_vars=inner.env_vars,
            args_schema=inner.args_schema,
            result_schema=inner.result_schema,
            description_updated=inner.description_updated,
            cache_function=never_cached,
            result_as_answer=inner.result_as_answer,
            max_usage_count=inner.max_usage_count,
            tool_failure_policy=inner.tool_failure_policy,
            current_usage_count=inner.current_usage_count,
        )
        gate._inner, gate._asker = inner, asker
        return gate

    @override
    def format_output_for_agent(self, raw_result: Any) -> str:
        """As the tool formats its results; a denial is no result."""
        if self._inner is None or isinstance(raw_result, Denial):
            return str(raw_result)
        return self._inner.format_output_for_agent(raw_result)

    @override
    def _run(self, *args: Any, **kwargs: Any) -> Any:
        passed = self._pass(args, kwargs)
        if not isinstance(passed, _Go):
            return passed
        if passed.approval is None:
            return self._call(passed)
        try:
            with approved(passed.approval):
                result = self._call(passed)
                return asyncio.run(result) if inspect.iscoroutine(result) else result
        except Exception as error:  # noqa: BLE001  # raised, ReAct would call and ask again
            return _failed(self.name, error)

    @override
    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        passed = await asyncio.to_thread(self._pass, args, kwargs)
        if not isinstance(passed, _Go):
            return passed
        if passed.approval is None:
            return await self._acall(passed)
        try:
            with approved(passed.approval):
                return await self._acall(passed)
        except Exception as error:  # noqa: BLE001  # as in `_run`
            return _failed(self.name, error)

    def _pass(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Go | Denial | ToolFailure:
        """What becomes of this call; never raises, since CrewAI would let the crew go on."""
        try:
            inner, asker = self._parts()
            call = ToolCall(self.name, _named(inner, args, kwargs))
            if not asker.approval.is_needed(call):
                return _Go(call.arguments, approval=None)
            return self._judged(asker.approval, call, asker.decide(call))
        except Exception as error:  # noqa: BLE001  # also what the user's own callables raise
            return self.stopped(error)

    def _judged(self, approval: Approval, call: ToolCall, result: GateResult) -> _Go | Denial:
        if not result["approved"]:
            return Denial(approval.denial(call, result))
        try:
            return _Go(self._edited(call, approval.edits(call, result)), result)
        except ValidationError as error:
            return Denial(_unfit(self.name, error))

    def _edited(self, call: ToolCall, edits: dict[str, Any]) -> dict[str, Any]:
        shown = call.arguments
        if not edits:
            return shown
        # The rest stays as it was approved: a validator may not take its own result the same way.
        valid = self.args_schema.model_validate({**shown, **edits}, by_name=True).model_dump()
        return {**shown, **{name: valid[name] for name in edits}}

    def _parts(self) -> tuple[BaseTool, Asker]:
        if self._inner is None or self._asker is None:
            raise GateError(
                "this tool was restored from a checkpoint, which keeps no client: make it again "
                "with gated(...)"
            )
        return self._inner, self._asker

    def _call(self, passed: _Go) -> Any:
        # `run` would validate the arguments once more, and so perhaps change them.
        return self._parts()[0]._run(**passed.arguments)  # noqa: SLF001

    async def _acall(self, passed: _Go) -> Any:
        return await self._parts()[0]._arun(**passed.arguments)  # noqa: SLF001  # as in `_call`


def _named(inner: BaseTool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name. CrewAI validates those, but hands on positional ones as they are."""
    if not args:
        return kwargs
    names = list(inner.args_schema.model_fields)
    given = dict(zip(names, args, strict=False))
    if len(args) > len(names) or given.keys() & kwargs:
        raise LoopPauseConfigError(f"{inner.name} takes {', '.join(names)}: give them by name")
    return inner.args_schema.model_validate({**given, **kwargs}, by_name=True).model_dump()


def _check_fields(approval: Approval, inner: BaseTool) -> None:
    known = inner.args_schema.model_fields
    if unknown := sorted(set(approval.fields) - set(known)):
        raise LoopPauseConfigError(
            f"fields names {', '.join(unknown)}, but {inner.name} takes {', '.join(known)}"
        )


def _failed(tool: str, error: Exception) -> ToolFailure:
    return ToolFailure(
        message=f"{tool} was approved and began, but raised {type(error).__name__}: {error}. "
        "What it has done by then stays done: find out before calling it again.",
        reason=ToolFailureReason.EXCEPTION,
        code=type(error).__name__,
    )


def _unfit(tool: str, error: ValidationError) -> str:
    faults = [
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return (
        f"DENIED: {tool} was not run, because the reviewer's changes do not fit its arguments "
        f"({'; '.join(faults)})."
    )
