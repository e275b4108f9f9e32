"""Gates for LangGraph: nodes that let the graph go on only after a person's approval.

`make_interrupt_gate` hibernates the thread in the checkpointer until the receiver resumes it;
`make_polling_gate` waits in the node. Both need no change elsewhere in the graph::

    builder.add_node("gate", make_interrupt_gate(client, agent_id="procurement", ...))
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})

Traps that no gate can close for you: an `interrupt` or `@task` call of your own in the same node
before the gate shifts LangGraph's memory of the question (give the gate a node of its own), and
a subgraph compiled with `checkpointer=False` forgets that it asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langgraph.config import get_config
from langgraph.func import task
from langgraph.runtime import get_runtime
from langgraph.types import Command, interrupt
from pydantic import AfterValidator, WithJsonSchema

from ._json import parse_object, plain
from .client import AsyncLoopPauseClient, LoopPauseClient
from .errors import (
    LoopPauseConfigError,
    NoCheckpointer,
    NotWaiting,
    PauseEnded,
    ProofError,
    ThreadNotFound,
    WaitDeadlineExceeded,
)
from .gate import Asked, Denial, GateResult, Question, bind, denied, judge
from .proof import Proof, claimed_pause_id

__all__ = [
    "GateResult",
    "aresume_thread",
    "make_interrupt_gate",
    "make_polling_gate",
    "resume_thread",
    "route_on_gate",
]

Client = LoopPauseClient | AsyncLoopPauseClient
ActionBuilder = Callable[[Any], Mapping[str, Any]]
OnInvalid = Literal["raise", "halt"]
Node = Callable[[Any], Any]

# LangGraph has no public name for either; the tests fail should one of them move.
_CHECKPOINTER = "__pregel_checkpointer"
_STRICT_RESUME = "__pregel_strict_resume"


@dataclass(frozen=True)
class _Gate:
    """The settings of one gate, and what both its forms do the same way."""

    agent_id: str
    action_builder: ActionBuilder
    pause_options: dict[str, Any]
    state_key: str
    require_human: bool
    on_invalid: OnInvalid = "raise"

    def question(self, state: Any) -> Question:
        return Question.build(self.agent_id, self.action_builder(state), *_visit())

    def request(self, question: Question) -> dict[str, Any]:
        return {
            "agent_id": question.agent_id,
            "action": question.action,
            "idempotency_key": question.idempotency_key,
            **self.pause_options,
        }

    def hibernate(
        self, question: Question, asked: Asked, verify: Callable[[Any], Proof]
    ) -> dict[str, Any]:
        """Interrupt, and judge the answer once LangGraph runs the node again with it."""
        schema = _answer_schema(asked.pause_id, verify) if self.on_invalid == "raise" else None
        answer = interrupt(asked.interrupt_value(), response_schema=schema)
        try:
            if self.on_invalid == "halt":
                answer = bind(answer, asked.pause_id, verify)
        except ProofError:
            return {self.state_key: denied("invalid_proof", asked)}
        return self.result(answer, question, asked)

    def result(self, answer: Proof | Denial, question: Question, asked: Asked) -> dict[str, Any]:
        judged = judge(
            answer,
            asked,
            current_digest=question.action_digest,
            require_human=self.require_human,
        )
        return {self.state_key: judged}


def make_interrupt_gate(
    client: Client,
    *,
    agent_id: str,
    action_builder: ActionBuilder,
    recipients: Iterable[Mapping[str, Any]],
    webhook_url: str | None = None,
    state_key: str = "looppause",
    require_human: bool = True,
    timeout_hours: float = 24,
    escalation: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_invalid: OnInvalid = "raise",
) -> Node:
    """Return a node that asks once and hibernates the thread until a genuine answer comes.

    The node writes a `GateResult` under `state_key`; gates that run in parallel need keys of
    their own. With an `AsyncLoopPauseClient` the node is a coroutine function, for `ainvoke`;
    with a `LoopPauseClient` it serves `invoke` and `ainvoke`. `action_builder` gets the state and
    returns the JSON object a person is shown; it runs again on resume, so it must not depend on
    anything but the state. `timeout_hours` counts from asking.

    An answer that is forged, belongs to another pause or proves nothing raises at whoever
    resumed and changes nothing: the thread stays paused (`on_invalid="halt"` ends the gate with
    `invalid_proof` instead). The node raises `NoCheckpointer` before it asks if the graph cannot
    hibernate, and `LoopPauseUnavailable` or `LoopPauseRequestError` if asking failed: nothing
    was approved, run the thread again later.
    """
    if on_invalid not in ("raise", "halt"):
        raise LoopPauseConfigError("on_invalid must be 'raise' or 'halt'")
    gate = _Gate(
        agent_id=agent_id,
        action_builder=action_builder,
        pause_options={
            "recipients": [dict(recipient) for recipient in recipients],
            "webhook_url": webhook_url,
            "timeout_hours": timeout_hours,
            "escalation": escalation,
            "form": form,
            "metadata": metadata,
        },
        state_key=state_key,
        require_human=require_human,
        on_invalid=on_invalid,
    )
    if isinstance(client, AsyncLoopPauseClient):
        return _async_interrupt_node(gate, client)
    return _interrupt_node(gate, client)


def _interrupt_node(gate: _Gate, client: LoopPauseClient) -> Node:
    @task(name="looppause_ask")
    def ask(question: Question) -> dict[str, Any]:
        pause = client.open_pause(**gate.request(question))
        return Asked.of(question, pause.pause_id, pause.expires_at).interrupt_value()

    def looppause_gate(state: Any) -> dict[str, Any]:
        _require_checkpointer()
        question = gate.question(state)
        asked = Asked(**ask(question).result())
        return gate.hibernate(question, asked, client.parse_resume_proof)

    return looppause_gate


def _async_interrupt_node(gate: _Gate, client: AsyncLoopPauseClient) -> Node:
    @task(name="looppause_ask")
    async def ask(question: Question) -> dict[str, Any]:
        pause = await client.open_pause(**gate.request(question))
        return Asked.of(question, pause.pause_id, pause.expires_at).interrupt_value()

    async def looppause_gate(state: Any) -> dict[str, Any]:
        _require_checkpointer()
        question = gate.question(state)
        asked = Asked(**await ask(question))
        return gate.hibernate(question, asked, client.parse_resume_proof)

    return looppause_gate


def make_polling_gate(
    client: Client,
    *,
    agent_id: str,
    action_builder: ActionBuilder,
    recipients: Iterable[Mapping[str, Any]],
    state_key: str = "looppause",
    require_human: bool = True,
    timeout_hours: float = 24,
    escalation: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    deadline_seconds: float | None = None,
) -> Node:
    """Return a node that asks and waits in place, for graphs without a checkpointer.

    With a `LoopPauseClient` each waiting gate holds a thread; with an `AsyncLoopPauseClient` it
    holds none. Waits until the pause's own timeout, or `deadline_seconds` if given, and then
    writes a result with `approved=False`. Raises what `wait_for_proof` raises when no decision
    can be had at all: `LoopPauseUnavailable` and `ProofError`.
    """
    gate = _Gate(
        agent_id=agent_id,
        action_builder=action_builder,
        pause_options={
            "recipients": [dict(recipient) for recipient in recipients],
            "webhook_url": "",  # the receiver has no thread to resume for this pause
            "timeout_hours": timeout_hours,
            "escalation": escalation,
            "form": form,
            "metadata": metadata,
        },
        state_key=state_key,
        require_human=require_human,
    )
    if isinstance(client, AsyncLoopPauseClient):
        return _async_polling_node(gate, client, deadline_seconds)
    return _polling_node(gate, client, deadline_seconds)


def _polling_node(gate: _Gate, client: LoopPauseClient, deadline: float | None) -> Node:
    def looppause_gate(state: Any) -> dict[str, Any]:
        question = gate.question(state)
        pause = client.open_pause(**gate.request(question))
        asked = Asked.of(question, pause.pause_id, pause.expires_at)
        try:
            proof = client.wait_for_proof(asked.pause_id, deadline_seconds=deadline)
        except (PauseEnded, WaitDeadlineExceeded) as ended:
            return {gate.state_key: denied(_how_it_ended(ended), asked)}
        return gate.result(proof, question, asked)

    return looppause_gate


def _async_polling_node(gate: _Gate, client: AsyncLoopPauseClient, deadline: float | None) -> Node:
    async def looppause_gate(state: Any) -> dict[str, Any]:
        question = gate.question(state)
        pause = await client.open_pause(**gate.request(question))
        asked = Asked.of(question, pause.pause_id, pause.expires_at)
        try:
            proof = await client.wait_for_proof(asked.pause_id, deadline_seconds=deadline)
        except (PauseEnded, WaitDeadlineExceeded) as ended:
            return {gate.state_key: denied(_how_it_ended(ended), asked)}
        return gate.result(proof, question, asked)

    return looppause_gate


def route_on_gate(state_key: str = "looppause") -> Callable[[Any], Literal["approved", "halt"]]:
    """Return a conditional edge: `approved` only where the gate's result says so, else `halt`.

    Reads state that is a mapping, a dataclass or a pydantic model; whatever is missing halts.
    """

    def looppause_route(state: Any) -> Literal["approved", "halt"]:
        approved = _member(_member(state, state_key), "approved")
        return "approved" if approved is True else "halt"

    return looppause_route


def resume_thread(graph: Any, thread_id: str, signed_proof: Mapping[str, Any] | str | bytes) -> Any:
    """Resume the interrupt that waits for this proof's pause; return what the graph returns.

    The gate verifies the proof and raises if it is not genuine; the thread then stays paused.
    Raises `ThreadNotFound`, `NotWaiting`, `NoCheckpointer`, or `ProofMalformed` if the message
    names no pause. Concurrent calls for one thread are not kept apart: the receiver's job.
    """
    config = _thread_config(thread_id)
    try:
        snapshot = graph.get_state(config)
    except ValueError as error:
        raise NoCheckpointer(_NO_CHECKPOINTER) from error
    return graph.invoke(_answer(snapshot, thread_id, signed_proof), _strict(config))


async def aresume_thread(
    graph: Any, thread_id: str, signed_proof: Mapping[str, Any] | str | bytes
) -> Any:
    """`resume_thread` for graphs with an async checkpointer."""
    config = _thread_config(thread_id)
    try:
        snapshot = await graph.aget_state(config)
    except ValueError as error:
        raise NoCheckpointer(_NO_CHECKPOINTER) from error
    return await graph.ainvoke(_answer(snapshot, thread_id, signed_proof), _strict(config))


_NO_CHECKPOINTER = (
    "the graph has no checkpointer, so it cannot hibernate: compile it with one, "
    "e.g. builder.compile(checkpointer=PostgresSaver(...)), or use make_polling_gate"
)


def _require_checkpointer() -> None:
    try:
        configurable = get_config().get("configurable", {})
    except RuntimeError as error:
        raise NoCheckpointer("an interrupt gate only works as a node of a graph") from error
    if not configurable.get(_CHECKPOINTER):
        raise NoCheckpointer(_NO_CHECKPOINTER)


def _visit() -> tuple[str, str]:
    """What tells this pass through the node from every other, and survives re-execution."""
    try:
        info = get_runtime().execution_info
    except RuntimeError:
        info = None
    if info is None:
        return "outside a graph", uuid.uuid4().hex
    return info.thread_id or "", info.task_id


def _answer_schema(pause_id: str, verify: Callable[[Any], Proof]) -> Any:
    def genuine(answer: Any) -> Proof | Denial:
        try:
            return bind(answer, pause_id, verify)
        except ProofError as error:
            raise ValueError(str(error)) from error  # what pydantic takes for a refusal

    return Annotated[Any, AfterValidator(genuine), WithJsonSchema({"title": "LoopPause proof"})]


def _how_it_ended(ended: PauseEnded | WaitDeadlineExceeded) -> str:
    return ended.status if isinstance(ended, PauseEnded) else "deadline"


def _member(container: Any, name: str) -> Any:
    if isinstance(container, Mapping):
        return container.get(name)
    return getattr(container, name, None)


def _thread_config(thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_id}}


def _strict(config: dict[str, Any]) -> dict[str, Any]:
    return {"configurable": {**config["configurable"], _STRICT_RESUME: True}}


def _answer(snapshot: Any, thread_id: str, body: Mapping[str, Any] | str | bytes) -> Command[Any]:
    """The resume by interrupt id, never by bare value: that would answer whatever comes first."""
    pause_id = claimed_pause_id(body)
    if snapshot.created_at is None:
        raise ThreadNotFound(f"thread {thread_id} does not exist; resuming it would start a run")
    waiting = [found.id for found in snapshot.interrupts if _asks(found.value, pause_id)]
    if not waiting:
        raise NotWaiting(f"nothing in thread {thread_id} waits for pause {pause_id}")
    answer = dict(body) if isinstance(body, Mapping) else plain(parse_object(body))
    return Command(resume=dict.fromkeys(waiting, answer))


def _asks(value: Any, pause_id: str) -> bool:
    return isinstance(value, Mapping) and value.get("pause_id") == pause_id
