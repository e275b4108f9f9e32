"""From a signed answer to a flow that goes on: what `aresume_flow` and the receiver share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crewai.flow import Flow
from crewai.flow.async_feedback import PendingFeedbackContext
from crewai.flow.flow_config import flow_config

from looppause_sdk.errors import GateError, NotWaiting
from looppause_sdk.gate import Asked, action_digest, bind, json_copy, judge

from .feedback import Client, LoopPauseFeedback
from .persistence import KEY, FlowPause, PostgresFlowPersistence

__all__ = ["Judged", "gate_of", "go_on", "judged"]


@dataclass(frozen=True)
class Judged:
    """A flow that hibernates, and the judged answer that it goes on with."""

    flow_class: type[Flow[Any]]
    pause: FlowPause
    context: PendingFeedbackContext


def gate_of(flow_class: type[Flow[Any]], stored_class: str, method_name: str) -> LoopPauseFeedback:
    """The gate of a flow that hibernates in this method. Raises `GateError` if it has none."""
    name = stored_class.rpartition(".")[2]
    if flow_class.__name__ != name:
        raise GateError(f"a {name} hibernates here, not a {flow_class.__name__}")
    method = flow_class.flow_definition().methods.get(method_name)
    feedback = method.human_feedback if method else None
    gate = (feedback.provider or flow_config.hitl_provider) if feedback else None
    if not isinstance(gate, LoopPauseFeedback):
        raise GateError(
            f"{name} has no method {method_name!r} with LoopPauseFeedback as its provider any more"
        )
    return gate


def judged(
    flow_class: type[Flow[Any]],
    pause: FlowPause,
    proof: Mapping[str, Any] | str | bytes,
    client: Client | None = None,
) -> Judged:
    """Verify the proof, bind it to the pause and judge it; nothing is changed.

    Without a `client` the gate's own verifies. Raises `ProofError` if the proof proves nothing
    about this pause, `GateError` if the flow no longer has the gate.
    """
    gate = gate_of(flow_class, pause.flow_class, pause.method_name)
    answer = bind(proof, pause.pause_id, (client or gate.client).parse_resume_proof)
    context = PendingFeedbackContext.from_dict(dict(pause.context))
    asked = Asked.from_value(context.metadata[KEY])
    action = json_copy("action", gate.action_of(context, dict(pause.state)))
    result = judge(
        answer,
        asked,
        current_digest=action_digest(action),
        require_human=gate.require_human,
    )
    context.metadata = {**context.metadata, KEY: dict(result)}
    context.default_outcome = gate.outcome_of(result, context.emit)
    return Judged(flow_class, pause, context)


async def go_on(judged: Judged, persistence: PostgresFlowPersistence) -> Any:
    """Let the flow go on from its gate to its end or its next one; return what CrewAI returns.

    Whoever calls this keeps all others away from the flow meanwhile. Raises `NotWaiting` if the
    pause has ended before, and what the flow raises: the pause then stays as it was.
    """
    pause = judged.pause
    if not await asyncio.to_thread(persistence.claim, pause.pause_id):
        raise NotWaiting(f"the flow {pause.flow_id} has gone on from pause {pause.pause_id}")
    answering = persistence.answering(pause, judged.context)
    flow = judged.flow_class.from_pending(pause.flow_id, answering)
    # Never any text: with `emit` CrewAI would have a model guess what it means. An empty one
    # stands for `default_outcome`, which is the judged one.
    outcome = await flow.resume_async("")
    await asyncio.to_thread(persistence.end, pause.pause_id)
    return outcome
