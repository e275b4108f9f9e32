"""From a judged answer to the decisions that LangChain's `HumanInTheLoopMiddleware` takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from looppause_sdk.approval import DENIAL_REASONS, ToolCall
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.gate import GateResult

from ._stock import Request, Stock

__all__ = ["Decisions"]

Decision = dict[str, Any]

_UNCLEAR = (
    "the reviewer approved, but it is not clear which of the calls `{name}` was filled in for. "
    "None of them was run"
)
_NO_REPLY = "the reviewer approved, but wrote no reply"


@dataclass(frozen=True)
class Decisions:
    """What may follow from an approval beside `approve`.

    `fields` names for each tool the answers that may replace arguments, `reply_field` the answer
    that may stand in for a tool's result.
    """

    stock: Stock
    fields: Mapping[str, Collection[str]]
    reply_field: str | None

    @classmethod
    def checked(
        cls, stock: Stock, fields: Mapping[str, Collection[str]], reply_field: str | None
    ) -> Decisions:
        """Raises `LoopPauseConfigError` where the stock middleware allows too little."""
        if not isinstance(fields, Mapping):
            raise LoopPauseConfigError('fields must be a dict by tool, e.g. {"pay": ["amount"]}')
        made = cls(stock, fields, reply_field)
        faults = [*made._tool_faults(), *made._field_faults()]
        if faults:
            raise LoopPauseConfigError("the review cannot hold: " + "; ".join(faults))
        return made

    def of(self, request: Request, result: GateResult) -> list[Decision]:
        """One decision for each call of the request, in its order."""
        calls = request.calls()
        if not result["approved"]:
            return [_reject(_why(result)) for _ in calls]
        answers = self._given(result["fields"] or {})
        unclear = self._unclear(calls, answers)
        if unclear:
            return [_reject(_UNCLEAR.format(name=unclear)) for _ in calls]
        return [_fitting(self._decision(call, answers), call, request.schema) for call in calls]

    def _given(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """The answers without those left empty: a reply of blanks is none."""
        given = {name: answer for name, answer in answers.items() if answer is not None}
        if self.reply_field and not str(given.get(self.reply_field, "")).strip():
            given.pop(self.reply_field, None)
        return given

    def _unclear(self, calls: list[ToolCall], answers: Mapping[str, Any]) -> str | None:
        """An answer that any of several calls could take, or a reply that none could."""
        for name in answers:
            takers = sum(name in self._takes(call) for call in calls)
            if takers > 1 or (name == self.reply_field and takers == 0):
                return name
        return None

    def _takes(self, call: ToolCall) -> set[str]:
        """The names of the answers that may change what follows for this call."""
        reply = {self.reply_field} if "respond" in self.stock.allowed(call.tool) else set()
        return {*self.fields.get(call.tool, ()), *(name for name in reply if name)}

    def _decision(self, call: ToolCall, answers: Mapping[str, Any]) -> Decision:
        taken = {name: answers[name] for name in self._takes(call) if name in answers}
        reply = taken.pop(self.reply_field, None) if self.reply_field else None
        arguments = {**call.arguments, **taken}
        if reply is not None:
            return {"type": "respond", "message": str(reply)}
        if "approve" not in self.stock.allowed(call.tool):
            return _reject(_NO_REPLY)
        if arguments == call.arguments:
            return {"type": "approve"}
        return {"type": "edit", "edited_action": {"name": call.tool, "args": arguments}}

    def _tool_faults(self) -> Iterator[str]:
        for tool in self.stock.middleware.interrupt_on:
            allowed = self.stock.allowed(tool)
            if "reject" not in allowed:
                yield (
                    f"add 'reject' to the allowed_decisions of {tool}: a person may say no, or "
                    "nothing at all"
                )
            if "approve" not in allowed and not ("respond" in allowed and self.reply_field):
                yield (
                    f"add 'approve' to the allowed_decisions of {tool}, or give reply_field and "
                    "add 'respond'"
                )

    def _field_faults(self) -> Iterator[str]:
        gated = self.stock.middleware.interrupt_on
        for tool, names in self.fields.items():
            if isinstance(names, str):
                yield f"fields of {tool} must be a list of names, e.g. [{names!r}]"
            elif self.reply_field in names:
                yield f"reply_field {self.reply_field!r} is among the fields of {tool}"
            if tool not in gated or not {"approve", "edit"} <= set(self.stock.allowed(tool)):
                yield (
                    f"fields names {tool}: have it in interrupt_on, with 'approve' and 'edit' "
                    "among its allowed_decisions"
                )
        if self.reply_field and not any("respond" in self.stock.allowed(tool) for tool in gated):
            yield "reply_field is given: add 'respond' to the allowed_decisions of some tool"


def _why(result: GateResult) -> str | None:
    """What the model is told of a denial; LangChain has words of its own for a plain no."""
    reason, comment = result["halt_reason"] or "", result["comment"]
    if reason == "rejected":
        return comment
    why = DENIAL_REASONS.get(reason, "it was not approved")
    return f'{why}. The reviewer wrote: "{comment}"' if comment else why


def _reject(reason: str | None) -> Decision:
    return {"type": "reject", "message": reason} if reason else {"type": "reject"}


def _fitting(decision: Decision, call: ToolCall, schema: Any) -> Decision:
    """The decision, or a rejection if the middleware would not take it from anybody."""
    if schema is None:
        return decision
    try:
        TypeAdapter(schema).validate_python(decision)
    except ValidationError as error:
        return _reject(f"the reviewer's edit does not fit {call.tool} ({_faults(error)})")
    return decision


def _faults(error: ValidationError) -> str:
    return "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
