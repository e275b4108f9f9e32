"""The gate that waits in place, for graphs that cannot hibernate."""

from __future__ import annotations

from typing import Any

from looppause_sdk.client import AsyncLoopPauseClient, LoopPauseClient
from looppause_sdk.errors import PauseEnded, WaitDeadlineExceeded

from ._calls import check_client
from ._gates import ActionBuilder, Client, Gate, Node, Object, Recipients, opened, pause_options
from ._run import TwoForms, Visit, visit
from ._threads import in_own_thread

__all__ = ["make_polling_gate"]


def make_polling_gate(
    client: Client,
    *,
    agent_id: str,
    action_builder: ActionBuilder,
    recipients: Recipients,
    state_key: str = "looppause",
    require_human: bool = True,
    timeout_hours: float = 24,
    escalation: Object | None = None,
    form: Object | None = None,
    metadata: Object | None = None,
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
    check_client(client)
    options = pause_options(
        recipients,
        timeout_hours,
        # Nothing hibernates that a receiver could resume; but it may be waited on.
        webhook_url=None if client.receiver_url else "",
        escalation=escalation,
        form=form,
        metadata=metadata,
    )
    gate = Gate(agent_id, action_builder, options, state_key, require_human)
    if isinstance(client, AsyncLoopPauseClient):
        return _async_polling_node(gate, client, deadline_seconds)
    return _polling_node(gate, client, deadline_seconds)


def _polling_node(gate: Gate, client: LoopPauseClient, deadline: float | None) -> Node:
    def ask_and_wait(state: Any, visit: Visit) -> dict[str, Any]:
        question = gate.question(state, visit)
        request = gate.request(question, state)
        asked = opened(question, client.open_pause(**request), request)
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


def _async_polling_node(gate: Gate, client: AsyncLoopPauseClient, deadline: float | None) -> Node:
    async def looppause_gate(state: Any) -> dict[str, Any]:
        question = gate.question(state, visit())
        request = gate.request(question, state)
        asked = opened(question, await client.open_pause(**request), request)
        try:
            proof = await client.wait_for_proof(asked.pause_id, deadline_seconds=deadline)
        except (PauseEnded, WaitDeadlineExceeded) as how:
            return gate.ended(how, asked)
        return gate.result(proof, question, asked)

    return looppause_gate
