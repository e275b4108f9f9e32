"""What `rivals.py` has Resumer resume: a gate of `looppause_sdk`, and a node that tells it ran."""

from __future__ import annotations

import os
import time
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate

__all__ = ["build", "graph"]


class State(TypedDict, total=False):
    """`key` names the thread."""

    key: str
    looppause: GateResult


def act(state: State) -> State:
    """What the gate guards."""
    told = os.open(os.environ["BENCH_TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(told, f"{state['key']} {time.monotonic()}\n".encode())
    os.close(told)
    return {}


def build(client: LoopPauseClient) -> Any:
    """The graph, without a checkpointer, with a gate that asks through `client`."""
    gate = make_interrupt_gate(
        client,
        agent_id="procurement",
        action_builder=lambda state: {
            "type": "payment",
            "description": "Pay 12450 EUR to Acme Corp",
            "details": {"key": state["key"]},
        },
        recipients=[{"channel": "slack", "target": "#finance"}],
    )
    builder = StateGraph(State)
    builder.add_node("gate", gate)
    builder.add_node("act", act)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "act", "halt": END})
    builder.add_edge("act", END)
    return builder


def graph() -> Any:
    """For `resumer serve`, which needs no LoopPause to resume."""
    return build(LoopPauseClient()).compile()
