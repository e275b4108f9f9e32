"""Which calls of a tool a person must approve, what that person sees, and what follows from it.

Shared by every integration that gates a tool where it acts: LangChain, LangGraph and CrewAI.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from ._current import approved, current_approval
from .errors import GateError, LoopPauseConfigError
from .gate import GateResult, json_copy

__all__ = ["DENIAL_REASONS", "Approval", "ToolCall", "approved", "current_approval"]

Recipients = Iterable[Mapping[str, Any]]
Object = Mapping[str, Any]

SHOWN_CHARS = 300

DENIAL_REASONS = {
    "rejected": "the reviewer rejected it",
    "system_fallback": "no person answered, and a configured default is no approval",
    "not_human": "the approval was not given by a person",
    "timed_out": "nobody answered in time",
    "expired": "the question expired before anybody answered",
    "cancelled": "the question was withdrawn",
    "deadline": "nobody answered in time",
    "action_changed": "the call is no longer the one that was approved",
}


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool, as the agent wants to make it.

    `id` is the model's name for the call, `written` its arguments as the model wrote them, and
    `state` the agent's state, where there are such.
    """

    tool: str
    arguments: dict[str, Any]
    id: str | None = None
    state: Any = field(default=None, repr=False)
    written: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """How calls of one tool are approved.

    `when` gets the arguments and says which calls need a person (all, if None); it must depend on
    nothing else, for it is asked again on resume. `fields` names the answers to `form` that may
    replace arguments of the same name; no other answer changes what runs. `recipients`, `form`,
    `escalation` and `metadata` may be callables that get the `ToolCall`; they are called when the
    question is put. So may `description`, which is called again on resume and must come to the
    same text; without one a person reads the call itself. `timeout_hours` counts from asking.
    `graph` names the graph to a receiver that cannot tell by `agent_id`, as it is registered there.
    """

    agent_id: str
    recipients: Recipients | Callable[[ToolCall], Recipients]
    when: Callable[[dict[str, Any]], bool] | None = None
    description: str | Callable[[ToolCall], str] | None = None
    fields: Collection[str] = ()
    form: Object | Callable[[ToolCall], Object | None] | None = None
    escalation: Object | Callable[[ToolCall], Object | None] | None = None
    metadata: Object | Callable[[ToolCall], Object | None] | None = None
    timeout_hours: float = 24
    webhook_url: str | None = None
    require_human: bool = True
    graph: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.fields, str):
            raise LoopPauseConfigError(f"fields must be a list of names, e.g. [{self.fields!r}]")
        if not callable(self.recipients):
            object.__setattr__(self, "recipients", list(self.recipients))

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, tool: str) -> Approval:
        """Read the settings of one tool. Raises `LoopPauseConfigError`, naming what is wrong."""
        known = {setting.name for setting in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise LoopPauseConfigError(
                f"the approval of {tool} has no setting {', '.join(unknown)}: "
                f"it has {', '.join(sorted(known))}"
            )
        missing = [name for name in ("agent_id", "recipients") if not settings.get(name)]
        if missing:
            raise LoopPauseConfigError(f"the approval of {tool} needs {' and '.join(missing)}")
        return cls(**settings)

    def check_fields(self, arguments: Iterable[str], *, tool: str) -> None:
        """Raise `LoopPauseConfigError` if `fields` names what is no argument of the tool."""
        if unknown := sorted(set(self.fields) - set(arguments)):
            raise LoopPauseConfigError(f"{tool} has no argument {', '.join(unknown)} to edit")

    def is_needed(self, call: ToolCall) -> bool:
        """Whether this call needs a person. Raises `GateError` if `when` says neither yes nor no.

        What `when` raises is raised: nobody has approved, and nothing runs.
        """
        needed = True if self.when is None else self.when(dict(call.arguments))
        if not isinstance(needed, bool):
            raise GateError(
                f"`when` of {call.tool} must return True or False, not {type(needed).__name__}"
            )
        return needed

    def action(self, call: ToolCall) -> dict[str, Any]:
        """What the person is shown and the approval is bound to: the call with its arguments.

        Raises `LoopPauseConfigError` if an argument has no JSON form.
        """
        arguments = plain_arguments(call)
        if callable(self.description):
            description = self.description(replace(call, arguments=dict(call.arguments)))
        else:
            description = self.description or _as_text(call.tool, arguments)
        return {"type": call.tool, "description": description, "details": arguments}

    def options(self, call: ToolCall) -> dict[str, Any]:
        """What a client's `open_pause` takes beside the agent, the action and the key."""
        given = {
            "recipients": _asked(self.recipients, call),
            "form": _asked(self.form, call),
            "escalation": _asked(self.escalation, call),
            "metadata": _asked(self.metadata, call),
        }
        copies = {name: json_copy(name, value) for name, value in given.items()}
        return {**copies, "timeout_hours": self.timeout_hours, "webhook_url": self.webhook_url}

    def edits(self, call: ToolCall, result: GateResult) -> dict[str, Any]:
        """The arguments that the person has changed, of those that may be."""
        answers = result["fields"] or {}
        given = {name: answers[name] for name in self.fields if answers.get(name) is not None}
        return {name: value for name, value in given.items() if value != call.arguments.get(name)}

    def arguments(self, call: ToolCall, result: GateResult) -> dict[str, Any]:
        """The arguments to run with: those that were shown, with the person's edits."""
        return {**call.arguments, **self.edits(call, result)}

    def denial(self, call: ToolCall, result: GateResult) -> str:
        """What the model is told instead of the tool's result."""
        why = DENIAL_REASONS.get(result["halt_reason"] or "", "it was not approved")
        comment = f' The reviewer wrote: "{result["comment"]}".' if result["comment"] else ""
        return (
            f"DENIED: {call.tool} was not run, because {why}.{comment} "
            "Do not call it again for the same purpose unless the user asks for it."
        )


def plain_arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments as JSON, in a copy: dates, amounts and models in their usual notation."""
    copy: dict[str, Any] = json_copy(f"arguments of {call.tool}", _plain(call.arguments))
    return copy


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, (Decimal, UUID, date, time, timedelta, PurePath)):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    model_dump = getattr(value, "model_dump", None)
    return model_dump(mode="json") if callable(model_dump) else value


def _asked(setting: Any, call: ToolCall) -> Any:
    given = setting(replace(call, arguments=dict(call.arguments))) if callable(setting) else setting
    return list(cast("Iterable[Any]", given)) if isinstance(given, tuple) else given


def _as_text(tool: str, arguments: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    text = f"{tool}({shown})"
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
