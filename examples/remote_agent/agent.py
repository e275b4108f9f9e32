"""An agent for a LangGraph server that refunds an order only after a person has approved it.

It is deployed as any other agent is: nothing of the resumer runs beside it. The resumer, anywhere
else, is told where it is:

langgraph dev                                                    # in this folder: the server
RESUMER_GRAPHS=refunds=http://127.0.0.1:2024#refunds resumer serve   # and what resumes it
"""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate


class State(TypedDict, total=False):
    """What moves through the agent."""

    order: dict[str, Any]
    looppause: GateResult
    result: str


def describe(state: State) -> dict[str, Any]:
    """What the person is asked; they approve exactly this."""
    order = state["order"]
    description = f"Refund {order['amount']} {order['currency']} for order {order['number']}"
    return {"type": "refund", "description": description, "details": order}


def refund(state: State) -> State:
    """Refund what was approved."""
    approval = state["looppause"]
    order = (approval["action"] or {})["details"]
    return {"result": f"REFUNDED order {order['number']}, approved by {approval['responder']}"}


def refuse(state: State) -> State:
    """Say why nothing was refunded."""
    return {"result": f"NOT REFUNDED, {state['looppause']['halt_reason']}"}


builder = StateGraph(State)
builder.add_node(
    "gate",
    make_interrupt_gate(
        LoopPauseClient(),
        agent_id="refunds",
        action_builder=describe,
        recipients=[{"channel": "slack", "target": "#refunds"}],
    ),
)
builder.add_node("refund", refund)
builder.add_node("refuse", refuse)
builder.add_edge(START, "gate")
builder.add_conditional_edges("gate", route_on_gate(), {"approved": "refund", "halt": "refuse"})
builder.add_edge("refund", END)
builder.add_edge("refuse", END)
graph = builder.compile()
