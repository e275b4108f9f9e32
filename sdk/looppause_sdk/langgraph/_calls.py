"""Gate single calls of tools and functions, wherever in a graph they are made.

A node may make several gated calls, at once and in any order. LangGraph matches what happens
inside a task by the order in which it happened: an answer meant for one call could reach another.
So every gated call is a small graph of its own, nested in the task under the call's own name. It
has a memory of its own for the question, an interrupt of its own for the answer, and keeps the
result: a call that has run does not run again when the node is executed again for a sibling's sake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.config import get_config
from langgraph.func import entrypoint
from langgraph.runtime import get_runtime
from langgraph.types import interrupt

from looppause_sdk.approval import Approval, ToolCall, approved, plain_arguments
from looppause_sdk.client import AsyncLoopPauseClient, LoopPauseClient
from looppause_sdk.errors import GateError, LoopPauseConfigError
from looppause_sdk.gate import Answer, Asked, GateResult, Question, action_digest, bind, judge

from ._alone import Place, alone, alone_in_loop
from ._asking import Ask, AsyncAsk, Memo, aremembered, remembered
from ._gates import Client, opened
from ._run import (
    CHECKPOINTER,
    SCRATCHPAD,
    answer_schema,
    can_hibernate,
    require_checkpointer,
    visit,
)
from ._siblings import Siblings, beside, beside_others

__all__ = ["GatedCalls", "check_client"]

Act = Callable[[dict[str, Any]], Any]
AsyncAct = Callable[[dict[str, Any]], Awaitable[Any]]
Deny = Callable[[GateResult], Any]

# LangGraph has no public name for it; the tests fail should it move.
_CALL = "__pregel_call"


@dataclass(frozen=True)
class GatedCalls:
    """The gate before the calls of one tool.

    A call that needs no person runs at once, without edits, and is kept as the others are: its
    node may run again for the sake of one that hibernates. Raises `NoCheckpointer` outside a graph
    that can hibernate, `GateError` or `LoopPauseConfigError` if the call cannot be put to a person,
    and `LoopPauseUnavailable` or `LoopPauseRequestError` if asking failed: nothing was approved,
    and nothing has run.
    """

    client: Client
    approval: Approval

    def run(self, call: ToolCall, act: Act, deny: Deny) -> Any:
        """What `act` makes of the person's edits to the arguments, or `deny` of the denial."""
        needed = self.approval.is_needed(call)
        if not needed and not can_hibernate():
            return act({})
        place = _place()
        siblings = _siblings(place)
        name = _name(call, siblings)
        results: list[Any] = []

        def looppause_call(_name: str) -> Any:
            results.append(act({}) if asks is None else self._decided(asks, call, act, deny))
            return _kept(results[0])

        with beside(siblings), alone(_address(place, name)):
            asks = self._question(call, name) if needed else None
            kept: Any = _graph(looppause_call).invoke(name, _inside(place, name))
        return results[0] if results else kept[0][0]

    async def arun(self, call: ToolCall, act: AsyncAct, deny: Deny) -> Any:
        """`run` for coroutines."""
        needed = self.approval.is_needed(call)
        if not needed and not can_hibernate():
            return await act({})
        place = _place()
        siblings = _siblings(place)
        name = _name(call, siblings)
        results: list[Any] = []

        async def looppause_call(_name: str) -> Any:
            decided = act({}) if asks is None else self._adecided(asks, call, act, deny)
            results.append(await decided)
            return _kept(results[0])

        async with beside_others(siblings), alone_in_loop(_address(place, name)):
            asks = self._question(call, name) if needed else None
            kept: Any = await _graph(looppause_call).ainvoke(name, _inside(place, name))
        return results[0] if results else kept[0][0]

    def _decided(self, question: Question, call: ToolCall, act: Act, deny: Deny) -> Any:
        result = self._answered(question, remembered(question, Ask(self._send(call))))
        if not result["approved"]:
            return deny(result)
        with approved(result):
            return act(self.approval.edits(call, result))

    async def _adecided(self, question: Question, call: ToolCall, act: AsyncAct, deny: Deny) -> Any:
        result = self._answered(question, await aremembered(question, self._ask(call)))
        if not result["approved"]:
            return deny(result)
        with approved(result):
            return await act(self.approval.edits(call, result))

    def _question(self, call: ToolCall, name: str) -> Question:
        thread_id, task_id, _ = visit()
        approval = self.approval
        visited = (thread_id, task_id, name)
        return Question.build(
            approval.agent_id, approval.action(call), *visited, graph=approval.graph
        )

    def _ask(self, call: ToolCall) -> Ask | AsyncAsk:
        client = self.client
        if not isinstance(client, AsyncLoopPauseClient):
            return Ask(self._send(call))

        async def send(question: Question) -> Memo:
            request = question.request(self.approval.options(call))
            pause = await client.open_pause(**request)
            return opened(question, pause, request).interrupt_value()

        return AsyncAsk(send)

    def _send(self, call: ToolCall) -> Callable[[Question], Memo]:
        client = self.client
        if isinstance(client, AsyncLoopPauseClient):
            raise GateError(
                f"{call.tool} asks through an AsyncLoopPauseClient and was called under `invoke`: "
                "run the graph with `ainvoke`, or give it a LoopPauseClient"
            )

        def send(question: Question) -> Memo:
            request = question.request(self.approval.options(call))
            pause = client.open_pause(**request)
            return opened(question, pause, request).interrupt_value()

        return send

    def _answered(self, question: Question, memo: Memo) -> GateResult:
        """Hibernate, and judge the answer once LangGraph runs the call again with it."""
        asked = Asked.from_value(memo)

        def bound(answer: Any) -> Answer:
            return bind(answer, asked.pause_id, self.client.parse_resume_proof)

        answer = interrupt(asked.interrupt_value(), response_schema=answer_schema(bound))
        return judge(
            answer,
            asked,
            current_digest=question.action_digest,
            require_human=self.approval.require_human,
        )


def check_client(client: object) -> None:
    """Raise `LoopPauseConfigError` unless `client` is one of the SDK's."""
    if not isinstance(client, (LoopPauseClient, AsyncLoopPauseClient)):
        kind = type(client)
        raise LoopPauseConfigError(
            "a gate asks through a LoopPauseClient or AsyncLoopPauseClient of looppause_sdk, "
            f"not {kind.__module__}.{kind.__qualname__}"
        )


def _place() -> dict[str, Any]:
    """Where in its run the call is made, as LangGraph describes it."""
    require_checkpointer()
    place: dict[str, Any] = get_config()["configurable"]
    return place


def _siblings(place: dict[str, Any]) -> Siblings:
    info = get_runtime().execution_info
    return Siblings.of(place[_CALL], info.node_attempt if info else 1)


def _name(call: ToolCall, siblings: Siblings) -> str:
    """What tells the call from every other of the same execution, in every execution.

    Models have given several calls one id, or an empty one, but what a message says never changes.
    """
    if call.id is None or call.written is None:
        return siblings.name(call.tool)
    written = plain_arguments(replace(call, arguments=call.written))
    return siblings.name(call.tool, call.id, action_digest(written))


def _graph(call: Callable[[str], Any]) -> Any:
    graph = entrypoint()(call)
    # Else a thread waits for what it streams, and with `max_concurrency=1` there is no other.
    graph.stream_eager = False
    return graph


def _address(place: dict[str, Any], name: str) -> Place:
    return str(place.get("thread_id", "")), _namespace(place, name)


def _namespace(place: dict[str, Any], name: str) -> str:
    segment = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{place['checkpoint_ns']}|looppause_call:{segment}"


def _inside(place: dict[str, Any], name: str) -> Any:
    """Nest a graph under the call's name, instead of under its number among the node's graphs."""
    configurable = {
        **place,
        "checkpoint_ns": _namespace(place, name),
        SCRATCHPAD: replace(place[SCRATCHPAD], subgraph_counter=lambda: 0),
    }
    return {"configurable": configurable}


def _kept(result: Any) -> list[list[Any]]:
    """The result in a form the checkpointer can keep: one it cannot would fail after the act.

    Twice in a list, where LangGraph's message streaming does not look for messages.
    """
    serializer = get_config()["configurable"][CHECKPOINTER].serde
    without = (
        result.model_copy(update={"artifact": None}) if isinstance(result, ToolMessage) else None
    )
    for form in (result, without):
        with suppress(Exception):
            serializer.dumps_typed(form)
            return [[form]]
    return [[str(result)]]
