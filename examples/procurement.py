"""A procurement agent that pays an invoice only after a person has approved it.

resumer dev                                        # runs it
resumer dev --graph examples/procurement.py:graph  # the same, named
"""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate


class State(TypedDict, total=False):
    """What moves through the agent."""

    invoice: dict[str, Any]
    looppause: GateResult
    result: str


def describe(state: State) -> dict[str, Any]:
    """What the person is asked; they approve exactly this."""
    invoice = state["invoice"]
    return {
        "type": "payment",
        "description": f"Pay {invoice['amount']} {invoice['currency']} to {invoice['supplier']}",
        "details": invoice,
    }


def pay(state: State) -> State:
    """Pay what was approved, not what the state says by now."""
    approval = state["looppause"]
    invoice = (approval["action"] or {})["details"]
    # A node that is killed half-way runs again: the pause id is the key that keeps a payment
    # provider from paying twice.
    return {
        "result": f"PAID {invoice['amount']} {invoice['currency']} to {invoice['supplier']}, "
        f"approved by {approval['responder']}, idempotency key {approval['pause_id']}"
    }


def refuse(state: State) -> State:
    """Say why nothing was paid."""
    approval = state["looppause"]
    by = f" by {approval['responder']}" if approval["responder"] else ""
    comment = f": {approval['comment']}" if approval["comment"] else ""
    return {"result": f"NOT PAID, {approval['halt_reason']}{by}{comment}"}


builder = StateGraph(State)
builder.add_node(
    "gate",
    make_interrupt_gate(
        LoopPauseClient(),
        agent_id="procurement",
        action_builder=describe,
        recipients=[{"channel": "slack", "target": "#procurement-approvals"}],
    ),
)
builder.add_node("pay", pay)
builder.add_node("refuse", refuse)
builder.add_edge(START, "gate")
builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": "refuse"})
builder.add_edge("pay", END)
builder.add_edge("refuse", END)
graph = builder.compile()
