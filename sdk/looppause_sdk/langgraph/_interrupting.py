"""The gate that hibernates the thread until its answer comes."""

from __future__ import annotations

from typing import Any

from looppause_sdk.client import AsyncLoopPauseClient, LoopPauseClient
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.gate import Question

from ._asking import Ask, AsyncAsk, Memo, aremembered, remembered
from ._calls import check_client
from ._gates import (
    ActionBuilder,
    Client,
    Gate,
    Node,
    Object,
    OnInvalid,
    Recipients,
    opened,
    pause_options,
)
from ._run import TwoForms, require_async_interrupts, require_checkpointer, visit
from ._threads import in_loop_thread

__all__ = ["make_interrupt_gate"]


def make_interrupt_gate(
    client: Client,
    *,
    agent_id: str,
    action_builder: ActionBuilder,
    recipients: Recipients,
    webhook_url: str | None = None,
    state_key: str = "looppause",
    require_human: bool = True,
    timeout_hours: float = 24,
    escalation: Object | None = None,
    form: Object | None = None,
    metadata: Object | None = None,
    on_invalid: OnInvalid = "raise",
    graph: str | None = None,
) -> Node:
    """Return a node that asks once and hibernates the thread until a genuine answer comes.

    The node writes a `GateResult` under `state_key`; gates that run in parallel need keys of
    their own. With an `AsyncLoopPauseClient` the node is a coroutine function, for `ainvoke`;
    with a `LoopPauseClient` it serves `invoke` and `ainvoke`. (On Python 3.10 LangGraph cannot
    interrupt under `ainvoke`.) Any number may ask at once, whatever threads the run has.

    `recipients`, `form`, `escalation` and `metadata` may be callables that get the state; they are
    called when the question is put, and not again on resume.

    `action_builder` gets the state and returns the JSON object a person is shown; it runs again
    on resume, so it must not depend on anything but the state. With a `LoopPauseClient` it may
    block: under `ainvoke` it has a thread of the event loop's executor. With an
    `AsyncLoopPauseClient` it runs in the event loop. `timeout_hours` counts from asking.

    `graph` names this graph to a receiver that runs several and cannot tell them apart by
    `agent_id`: it is the name the graph is registered under there.

    An answer that is forged, belongs to another pause or proves nothing raises at whoever
    resumed and changes nothing: the thread stays paused (`on_invalid="halt"` ends the gate with
    `invalid_proof` instead). The node raises `NoCheckpointer` before it asks if the graph cannot
    hibernate, `LoopPauseConfigError` if the action cannot be shown, and `LoopPauseUnavailable` or
    `LoopPauseRequestError` if asking failed: nothing was approved, run the thread again later.
    """
    check_client(client)
    if on_invalid not in ("raise", "halt"):
        raise LoopPauseConfigError("on_invalid must be 'raise' or 'halt'")
    options = pause_options(
        recipients,
        timeout_hours,
        webhook_url=webhook_url,
        escalation=escalation,
        form=form,
        metadata=metadata,
    )
    gate = Gate(agent_id, action_builder, options, state_key, require_human, on_invalid, graph)
    if isinstance(client, AsyncLoopPauseClient):
        return _async_interrupt_node(gate, client)
    return _interrupt_node(gate, client)


def _interrupt_node(gate: Gate, client: LoopPauseClient) -> Node:
    def ask(state: Any) -> Ask:
        def send(question: Question) -> Memo:
            request = gate.request(question, state)
            pause = client.open_pause(**request)
            return opened(question, pause, request).interrupt_value()

        return Ask(send)

    def looppause_gate(state: Any) -> dict[str, Any]:
        require_checkpointer()
        question = gate.question(state, visit())
        return gate.hibernate(client, question, remembered(question, ask(state)))

    async def alooppause_gate(state: Any) -> dict[str, Any]:
        require_checkpointer()
        question = await in_loop_thread(gate.question, state, visit())
        return gate.hibernate(client, question, await aremembered(question, ask(state)))

    return TwoForms(looppause_gate, alooppause_gate)


def _async_interrupt_node(gate: Gate, client: AsyncLoopPauseClient) -> Node:
    require_async_interrupts()

    def ask(state: Any) -> AsyncAsk:
        async def send(question: Question) -> Memo:
            request = gate.request(question, state)
            pause = await client.open_pause(**request)
            return opened(question, pause, request).interrupt_value()

        return AsyncAsk(send)

    async def looppause_gate(state: Any) -> dict[str, Any]:
        require_checkpointer()
        question = gate.question(state, visit())
        return gate.hibernate(client, question, await aremembered(question, ask(state)))

    return looppause_gate
