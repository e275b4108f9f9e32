"""Gates for LangGraph: nodes that let the graph go on only after a person's approval.

`make_interrupt_gate` hibernates the thread in the checkpointer until the receiver resumes it;
`make_polling_gate` waits in the node::

    builder.add_node("gate", make_interrupt_gate(client, agent_id="procurement", ...))
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})

Traps: an `interrupt` or `@task` call of your own in the same node before the gate shifts
LangGraph's memory of the question, so give the gate a node of its own; a subgraph compiled with
`checkpointer=False` forgets that it asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from langgraph.types import interrupt

from ._asking import Ask, AsyncAsk, Memo, aremembered, remembered
from ._resume import aresume_thread, resume_thread
from ._run import (
    TwoForms,
    Visit,
    answer_schema,
    require_async_interrupts,
    require_checkpointer,
    visit,
)
from ._threads import in_loop_thread, in_own_thread
from .client import AsyncLoopPauseClient, LoopPauseClient, Pause
from .errors import LoopPauseConfigError, PauseEnded, ProofError, WaitDeadlineExceeded
from .gate import Answer, Asked, GateResult, Question, bind, denied, json_copy, judge

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


class Node(Protocol):
    """A gate, as `add_node` takes it."""

    def __call__(self, state: Any) -> Any: ...


@dataclass(frozen=True)
class _Gate:
    """The settings of one gate, and what all its forms do the same way."""

    agent_id: str
    action_builder: ActionBuilder
    options: dict[str, Any]
    state_key: str
    require_human: bool
    on_invalid: OnInvalid = "raise"

    def question(self, state: Any, visit: Visit) -> Question:
        whom, what = self.options["recipients"], self.options["form"]
        return Question.build(self.agent_id, self.action_builder(state), *visit, whom, what)

    def request(self, question: Question) -> dict[str, Any]:
        return {
            "agent_id": question.agent_id,
            "action": question.action,
            "idempotency_key": question.idempotency_key,
            **self.options,
        }

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
    with a `LoopPauseClient` it serves `invoke` and `ainvoke`. (On Python 3.10 LangGraph cannot
    interrupt under `ainvoke`.) Any number may ask at once, whatever threads the run has.

    `action_builder` gets the state and returns the JSON object a person is shown; it runs again
    on resume, so it must not depend on anything but the state. With a `LoopPauseClient` it may
    block: under `ainvoke` it has a thread of the event loop's executor. With an
    `AsyncLoopPauseClient` it runs in the event loop. `timeout_hours` counts from asking.

    An answer that is forged, belongs to another pause or proves nothing raises at whoever
    resumed and changes nothing: the thread stays paused (`on_invalid="halt"` ends the gate with
    `invalid_proof` instead). The node raises `NoCheckpointer` before it asks if the graph cannot
    hibernate, `LoopPauseConfigError` if the action cannot be shown, and `LoopPauseUnavailable` or
    `LoopPauseRequestError` if asking failed: nothing was approved, run the thread again later.
    """
    _check(client)
    if on_invalid not in ("raise", "halt"):
        raise LoopPauseConfigError("on_invalid must be 'raise' or 'halt'")
    options = _pause_options(
        recipients,
        timeout_hours,
        webhook_url=webhook_url,
        escalation=escalation,
        form=form,
        metadata=metadata,
    )
    gate = _Gate(agent_id, action_builder, options, state_key, require_human, on_invalid)
    if isinstance(client, AsyncLoopPauseClient):
        return _async_interrupt_node(gate, client)
    return _interrupt_node(gate, client)


def _interrupt_node(gate: _Gate, client: LoopPauseClient) -> Node:
    def send(question: Question) -> Memo:
        return _asked(question, client.open_pause(**gate.request(question))).interrupt_value()

    def looppause_gate(state: Any) -> dict[str, Any]:
        require_checkpointer()
        question = gate.question(state, visit())
        return gate.hibernate(client, question, remembered(question, Ask(send)))

    async def alooppause_gate(state: Any) -> dict[str, Any]:
        require_checkpointer()
        question = await in_loop_thread(gate.question, state, visit())
        return gate.hibernate(client, question, await aremembered(question, Ask(send)))

    return TwoForms(looppause_gate, alooppause_gate)


def _async_interrupt_node(gate: _Gate, client: AsyncLoopPauseClient) -> Node:
    require_async_interrupts()

    async def send(question: Question) -> Memo:
        pause = await client.open_pause(**gate.request(question))
        return _asked(question, pause).interrupt_value()

    async def looppause_gate(state: Any) -> dict[str, Any]:
        require_checkpointer()
        question = gate.question(state, visit())
        return gate.hibernate(client, question, await aremembered(question, AsyncAsk(send)))

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

    With an `AsyncLoopPauseClient` a waiting gate holds no thread. With a `LoopPauseClient` it
    holds one: under `ainvoke` a daemon thread of its own, so that any number ask at once and the
    agent's other nodes go on (a cancelled run leaves the thread behind until the wait ends);
    under `invoke` one of the run's (`max_concurrency`, else a few more than there are cores), and
    gates beyond those are asked only when others were answered.

    Waits until the pause's own timeout, or `deadline_seconds` if given, and then writes a result
    with `approved=False`. Raises `LoopPauseUnavailable`, `LoopPauseRequestError` or `ProofError`
    when no decision can be had at all: nothing was approved.
    """
    _check(client)
    options = _pause_options(
        recipients,
        timeout_hours,
        webhook_url="",  # nothing hibernates that a receiver could resume
        escalation=escalation,
        form=form,
        metadata=metadata,
    )
    gate = _Gate(agent_id, action_builder, options, state_key, require_human)
    if isinstance(client, AsyncLoopPauseClient):
        return _async_polling_node(gate, client, deadline_seconds)
    return _polling_node(gate, client, deadline_seconds)


def _polling_node(gate: _Gate, client: LoopPauseClient, deadline: float | None) -> Node:
    def ask_and_wait(state: Any, visit: Visit) -> dict[str, Any]:
        question = gate.question(state, visit)
        asked = _asked(question, client.open_pause(**gate.request(question)))
        try:
            proof = client.wait_for_proof(asked.pause_id, deadline_seconds=deadline)
        except (PauseEnded, WaitDeadlineExceeded) as how:
            return gate.ended(how, asked)
        return gate.result(proof, question, asked)

    def looppause_gate(state: Any) -> dict[str, Any]:
        return ask_and_wait(state, visit())

    async def alooppause_gate(state: Any) -> dict[str, Any]:
        return await in_own_thread(ask_and_wait, state, visit())

    return TwoForms(looppause_gate, alooppause_gate)


def _async_polling_node(gate: _Gate, client: AsyncLoopPauseClient, deadline: float | None) -> Node:
    async def looppause_gate(state: Any) -> dict[str, Any]:
        question = gate.question(state, visit())
        asked = _asked(question, await client.open_pause(**gate.request(question)))
        try:
            proof = await client.wait_for_proof(asked.pause_id, deadline_seconds=deadline)
        except (PauseEnded, WaitDeadlineExceeded) as how:
            return gate.ended(how, asked)
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


def _check(client: object) -> None:
    if not isinstance(client, (LoopPauseClient, AsyncLoopPauseClient)):
        kind = type(client)
        raise LoopPauseConfigError(
            "a gate asks through a LoopPauseClient or AsyncLoopPauseClient of looppause_sdk, "
            f"not {kind.__module__}.{kind.__qualname__}"
        )


def _pause_options(
    recipients: Iterable[Mapping[str, Any]], timeout_hours: float, **others: Any
) -> dict[str, Any]:
    """What `open_pause` takes beside the question; a copy, so that the gate asks as it was made."""
    given = {"recipients": list(recipients), "timeout_hours": timeout_hours, **others}
    return {name: json_copy(name, value) for name, value in given.items()}


def _asked(question: Question, pause: Pause) -> Asked:
    return Asked.of(question, pause.pause_id, pause.expires_at)


def _member(container: Any, name: str) -> Any:
    if isinstance(container, Mapping):
        return container.get(name)
    return getattr(container, name, None)
