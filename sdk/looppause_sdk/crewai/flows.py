"""Flows that hibernate until a person has answered, and go on when the receiver has the proof.

`LoopPauseFeedback` asks, `PostgresFlowPersistence` keeps the flow meanwhile. The receiver resumes
it where its class is registered (`resumer serve --flow refunds=app.flows:RefundFlow`, by the
agent id of its gates); `aresume_flow` does so by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from crewai.flow import Flow

from looppause_sdk.errors import GateError, NotWaiting
from looppause_sdk.proof import claimed_pause_id

from .feedback import Client, LoopPauseFeedback
from .flow_runs import go_on, judged
from .persistence import FlowPause, PostgresFlowPersistence

__all__ = ["LoopPauseFeedback", "PostgresFlowPersistence", "aresume_flow", "resume_flow"]

Body = Mapping[str, Any] | str | bytes


async def aresume_flow(
    flow_class: type[Flow[Any]],
    proof: Body,
    *,
    persistence: PostgresFlowPersistence,
    client: Client | None = None,
) -> Any:
    """Let the flow that waits for this proof's pause go on; return what CrewAI returns.

    That is the flow's result, or `HumanFeedbackPending` where it hibernates again. Give the proof
    as it was received, bytes or text, where you have it so; it is verified by `client`, by default
    the gate's own. One resumer at a time, the receiver included.

    Raises, leaving the flow as it was: `ProofInvalid` or `ProofMalformed` if the proof proves
    nothing, `NotWaiting` if no flow waits for it (answered already, perhaps), `GateError` if
    somebody else resumes the flow at this moment or `flow_class` is not what hibernates there. An
    error of the flow's own is raised too; the flow then still waits, and the same proof lets it go
    on from the gate once more.
    """
    pause = await asyncio.to_thread(_find, persistence, claimed_pause_id(proof))
    answer = judged(flow_class, pause, proof, client)
    async with AsyncExitStack() as stack:
        lock = persistence.alone(pause.flow_id)
        if not await asyncio.to_thread(stack.enter_context, lock):
            raise GateError(f"somebody else resumes flow {pause.flow_id} at this moment")
        return await go_on(answer, persistence)


def resume_flow(
    flow_class: type[Flow[Any]],
    proof: Body,
    *,
    persistence: PostgresFlowPersistence,
    client: Client | None = None,
) -> Any:
    """`aresume_flow` for callers outside an event loop."""
    return asyncio.run(aresume_flow(flow_class, proof, persistence=persistence, client=client))


def _find(persistence: PostgresFlowPersistence, pause_id: str) -> FlowPause:
    pause = persistence.find(pause_id)
    if pause is None:
        raise NotWaiting(f"no flow waits for pause {pause_id}")
    if pause.is_ended:
        raise NotWaiting(f"flow {pause.flow_id} has gone on from pause {pause_id} already")
    return pause
