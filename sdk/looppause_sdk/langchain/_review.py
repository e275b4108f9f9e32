"""Put what the stock middleware asks to a person, and hibernate until a genuine answer comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from langgraph.types import interrupt

from looppause_sdk.approval import ToolCall, approved
from looppause_sdk.client import AsyncLoopPauseClient
from looppause_sdk.errors import GateError
from looppause_sdk.gate import (
    Answer,
    Asked,
    GateResult,
    Question,
    action_digest,
    bind,
    json_copy,
    judge,
)
from looppause_sdk.langgraph._asking import Ask, AsyncAsk, Memo, aremembered, remembered
from looppause_sdk.langgraph._gates import Client, opened
from looppause_sdk.langgraph._run import answer_schema, require_checkpointer, visit

from ._decisions import Decisions
from ._stock import Answered, Asks, Middleware, Request, Stock, refuse_unasked_answer

__all__ = ["Review"]

T = TypeVar("T")
Run = Callable[[Middleware, Callable[[], None]], T]

_SYNC_RUN = (
    "the agent asks through an AsyncLoopPauseClient and was run under `invoke`: run it with "
    "`ainvoke`, or give signed_review a LoopPauseClient"
)


@dataclass(frozen=True)
class Review:
    """A stock middleware, and whom to ask instead.

    The stock code runs twice: first to say what it asks, and with the answer. `run` gets it each
    time with a check to make before anything follows from its having run to the end.
    """

    stock: Stock
    client: Client
    agent_id: str
    settings: Mapping[str, Any]
    decisions: Decisions
    require_human: bool
    graph: str | None = None

    def now(self, run: Run[T], state: Any) -> T:
        """What `run` makes of the stock middleware, whose questions were answered."""
        try:
            return run(self.stock.asking(), refuse_unasked_answer)
        except Asks as asks:
            request = asks.request
        question = self._question(request)
        memo = remembered(question, Ask(self._send(request.calls(state))))
        answered = self._answered(request, question, memo)
        with approved(answered.result):
            return run(self.stock.answered(answered), answered.check)

    async def later(self, run: Run[Awaitable[T]], state: Any) -> T:
        """`now` for coroutines."""
        try:
            return await run(self.stock.asking(), refuse_unasked_answer)
        except Asks as asks:
            request = asks.request
        question = self._question(request)
        memo = await aremembered(question, self._ask(request.calls(state)))
        answered = self._answered(request, question, memo)
        with approved(answered.result):
            return await run(self.stock.answered(answered), answered.check)

    def _question(self, request: Request) -> Question:
        require_checkpointer()
        return Question.build(self.agent_id, action_of(request), *visit(), graph=self.graph)

    def _answered(self, request: Request, question: Question, memo: Memo) -> Answered:
        """Hibernate, and once LangGraph runs this again with an answer, turn it into decisions."""
        asked = Asked.from_value(memo)

        def bound(answer: Any) -> Answer:
            return bind(answer, asked.pause_id, self.client.parse_resume_proof)

        ours = asked.interrupt_value()
        value = {**ours, **request.value, **ours}  # ours first, and never overwritten
        answer = interrupt(value, response_schema=answer_schema(bound))
        result = self._judged(answer, question, asked)
        return Answered(request, self.decisions.of(request, result), result)

    def _judged(self, answer: Answer, question: Question, asked: Asked) -> GateResult:
        # Descriptions may tell the time, or what the state says by now: the approval is bound to
        # the calls.
        described = {**question.action, "description": asked.action.get("description")}
        return judge(
            answer,
            asked,
            current_digest=action_digest(described),
            require_human=self.require_human,
        )

    def _ask(self, calls: list[ToolCall]) -> Ask | AsyncAsk:
        client = self.client
        if not isinstance(client, AsyncLoopPauseClient):
            return Ask(self._send(calls))

        async def send(question: Question) -> Memo:
            request = self._request(question, calls)
            pause = await client.open_pause(**request)
            return opened(question, pause, request).interrupt_value()

        return AsyncAsk(send)

    def _send(self, calls: list[ToolCall]) -> Callable[[Question], Memo]:
        client = self.client
        if isinstance(client, AsyncLoopPauseClient):
            raise GateError(_SYNC_RUN)

        def send(question: Question) -> Memo:
            request = self._request(question, calls)
            pause = client.open_pause(**request)
            return opened(question, pause, request).interrupt_value()

        return send

    def _request(self, question: Question, calls: list[ToolCall]) -> dict[str, Any]:
        """What `open_pause` takes. Settings that are callables are asked only now."""
        options = {
            name: json_copy(name, setting(calls)) if callable(setting) else setting
            for name, setting in self.settings.items()
        }
        return question.request(options)


def action_of(request: Request) -> dict[str, Any]:
    """What a person is shown, and the approval is bound to."""
    if len(request.actions) == 1:
        [call] = request.actions
        return {
            "type": call["name"],
            "description": call.get("description") or call["name"],
            "details": call["args"],
        }
    texts = [
        f"{number}. {call.get('description') or call['name']}"
        for number, call in enumerate(request.actions, 1)
    ]
    calls = [{"name": call["name"], "args": call["args"]} for call in request.actions]
    return {"type": "tool_calls", "description": "\n\n".join(texts), "details": {"calls": calls}}
