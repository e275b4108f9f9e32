"""What interrupt gates and polling gates share: their settings, their question, their result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from langgraph.types import interrupt

from looppause_sdk.client import AsyncLoopPauseClient, LoopPauseClient, Pause
from looppause_sdk.errors import PauseEnded, ProofError, WaitDeadlineExceeded
from looppause_sdk.gate import Answer, Asked, Question, bind, denied, json_copy, judge

from ._asking import Memo
from ._run import Visit, answer_schema

__all__ = [
    "ActionBuilder",
    "Client",
    "Gate",
    "Node",
    "Object",
    "OnInvalid",
    "Recipients",
    "opened",
    "pause_options",
]

Client = LoopPauseClient | AsyncLoopPauseClient
ActionBuilder = Callable[[Any], Mapping[str, Any]]
OnInvalid = Literal["raise", "halt"]
Recipients = Iterable[Mapping[str, Any]] | Callable[[Any], Iterable[Mapping[str, Any]]]
Object = Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None]


class Node(Protocol):
    """A gate, as `add_node` takes it."""

    def __call__(self, state: Any) -> Any: ...


@dataclass(frozen=True)
class Gate:
    """The settings of one gate, and what all its forms do the same way."""

    agent_id: str
    action_builder: ActionBuilder
    options: dict[str, Any]
    state_key: str
    require_human: bool
    on_invalid: OnInvalid = "raise"
    graph: str | None = None

    def question(self, state: Any, visit: Visit) -> Question:
        action = self.action_builder(state)
        return Question.build(self.agent_id, action, *visit, graph=self.graph)

    def request(self, question: Question, state: Any) -> dict[str, Any]:
        """What `open_pause` takes. Settings that are callables are asked only now."""
        options = {
            name: json_copy(name, value(state)) if callable(value) else value
            for name, value in self.options.items()
        }
        return question.request(options)

    def hibernate(self, client: Client, question: Question, memo: Memo) -> dict[str, Any]:
        """Interrupt, and judge the answer once LangGraph runs the node again with it."""
        asked = Asked.from_value(memo)

        def bound(answer: Any) -> Answer:
            return bind(answer, asked.pause_id, client.parse_resume_proof)

        if self.on_invalid == "raise":
            answer = interrupt(asked.interrupt_value(), response_schema=answer_schema(bound))
            return self.result(answer, question, asked)
        try:
            return self.result(bound(interrupt(asked.interrupt_value())), question, asked)
        except ProofError:
            return {self.state_key: denied("invalid_proof", asked)}

    def result(self, answer: Answer, question: Question, asked: Asked) -> dict[str, Any]:
        judged = judge(
            answer,
            asked,
            current_digest=question.action_digest,
            require_human=self.require_human,
        )
        return {self.state_key: judged}

    def ended(self, how: PauseEnded | WaitDeadlineExceeded, asked: Asked) -> dict[str, Any]:
        reason = how.status if isinstance(how, PauseEnded) else "deadline"
        return {self.state_key: denied(reason, asked)}


def pause_options(recipients: Recipients, timeout_hours: float, **others: Any) -> dict[str, Any]:
    """What `open_pause` takes beside the question; a copy, so that the gate asks as it was made."""
    whom = recipients if callable(recipients) else list(recipients)
    given = {"recipients": whom, "timeout_hours": timeout_hours, **others}
    return {
        name: value if callable(value) else json_copy(name, value) for name, value in given.items()
    }


def opened(question: Question, pause: Pause, request: Mapping[str, Any]) -> Asked:
    """The question, now that LoopPause has taken the request."""
    return Asked.of(question, pause.pause_id, pause.expires_at, request["recipients"])
