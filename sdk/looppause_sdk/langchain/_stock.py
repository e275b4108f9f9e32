"""Run LangChain's `HumanInTheLoopMiddleware` as it is, with an `interrupt` of ours in its place.

Its methods decide which calls need a person and what an answer does; they ask by calling
`interrupt`, a global of their module. A method run with other globals asks somebody else. Nothing
that others use is changed, and a LangChain whose methods do not ask so is refused at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.config import get_config

from looppause_sdk.approval import ToolCall
from looppause_sdk.errors import GateError, LoopPauseConfigError, ProofMalformed
from looppause_sdk.gate import GateResult
from looppause_sdk.langgraph._run import SCRATCHPAD
from looppause_sdk.proof import claimed_pause_id

__all__ = ["Answered", "Asks", "Request", "Stock", "refuse_unasked_answer"]

Middleware = HumanInTheLoopMiddleware[Any, Any, Any]

_ASKING = {"batched": "after_model", "per_call": "_resolve_per_call"}
_INTERRUPT = "interrupt"

_MOVED = (
    "the same calls no longer ask for review when the middleware is run again: `when` must give "
    "the same answer for the same call. Nothing was run"
)


@dataclass(frozen=True)
class Request:
    """What the stock middleware asks: the value of its interrupt, and the schema of an answer."""

    value: Mapping[str, Any]
    schema: Any = None

    @property
    def actions(self) -> list[Mapping[str, Any]]:
        """The calls, each with `name`, `args` and `description`."""
        return list(self.value.get("action_requests", [self.value]))

    def calls(self, state: Any = None) -> list[ToolCall]:
        """The calls. In batched mode the stock middleware does not say their ids."""
        call_id = self.value.get("tool_call_id")
        return [ToolCall(one["name"], dict(one["args"]), call_id, state) for one in self.actions]

    def answer(self, decisions: list[dict[str, Any]]) -> Any:
        """The decisions, one for each call, in the shape its `interrupt` returns."""
        return {"decisions": decisions} if "action_requests" in self.value else decisions[0]


class Asks(Exception):  # no error: it ends a run of the stock code
    """The stock middleware asks this."""

    def __init__(self, request: Request) -> None:
        super().__init__("the stock middleware asks")
        self.request = request


class Answered:
    """Gives the stock middleware the answer to what it asked before."""

    def __init__(
        self, request: Request, decisions: list[dict[str, Any]], result: GateResult
    ) -> None:
        self.asked, self.decisions, self.result = request, decisions, result
        self.given = False

    def interrupt(self, value: Any, *, response_schema: Any = None) -> Any:
        """What the stock middleware calls. Raises `GateError` if it asks about other calls."""
        if Request(value, response_schema).calls() != self.asked.calls():
            raise GateError(_MOVED)
        self.given = True
        return self.asked.answer(self.decisions)

    def check(self) -> None:
        """Raise `GateError` if the middleware went on without the answer."""
        if not self.given:
            raise GateError(_MOVED)


@dataclass(frozen=True)
class Stock:
    """A stock middleware, which is left as it is.

    Raises `LoopPauseConfigError` if its way of asking is not known here.
    """

    middleware: Middleware

    def __post_init__(self) -> None:
        method = getattr(type(self.middleware), self._method, None)
        code = getattr(method, "__code__", None)
        if code is None or _INTERRUPT not in code.co_names or code.co_freevars:
            raise LoopPauseConfigError(
                f"{type(self.middleware).__name__}.{self._method} does not ask as LangChain's "
                "HumanInTheLoopMiddleware does: give signed_review one that does not override it, "
                "and is not under review already, of langchain 1.4 or later; or use "
                "ApprovalMiddleware"
            )

    @property
    def mode(self) -> str:
        """`batched` or `per_call`."""
        return getattr(self.middleware, "interrupt_mode", "batched")

    @property
    def _method(self) -> str:
        return _ASKING.get(self.mode, self.mode)

    def allowed(self, tool: str) -> list[str]:
        """The decisions that are allowed for calls of this tool."""
        return list(self.middleware.interrupt_on[tool]["allowed_decisions"])

    def asking(self) -> Middleware:
        """It, raising `Asks` where it would interrupt."""
        return self._with(_raise_asks)

    def answered(self, answer: Answered) -> Middleware:
        """It, taking this answer where it would interrupt."""
        return self._with(answer.interrupt)

    def _with(self, interrupt: Callable[..., Any]) -> Middleware:
        twin = copy.copy(self.middleware)
        method = getattr(type(twin), self._method)
        scope = {**method.__globals__, _INTERRUPT: interrupt}
        ours = FunctionType(method.__code__, scope, method.__name__, method.__defaults__)
        ours.__kwdefaults__ = method.__kwdefaults__
        setattr(twin, self._method, MethodType(ours, twin))
        return twin


def refuse_unasked_answer() -> None:
    """Raise `GateError` if a person has answered here, and the middleware asks no longer.

    Left alone it would run the calls, whatever the answer was.
    """
    scratchpad = get_config().get("configurable", {}).get(SCRATCHPAD)
    if scratchpad is not None and any(map(_names_pause, scratchpad.resume)):
        raise GateError(_MOVED)


def _raise_asks(value: Any, *, response_schema: Any = None) -> Any:
    raise Asks(Request(value, response_schema))


def _names_pause(answer: Any) -> bool:
    if not isinstance(answer, (Mapping, str, bytes)):
        return False
    try:
        return bool(claimed_pause_id(answer))
    except ProofMalformed:
        return False
