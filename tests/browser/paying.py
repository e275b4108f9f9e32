"""The agent that the dashboard's tests watch: several nodes, two gates, and a bank that can fail.

The receiver's process loads `graph` from here; what its bank does is decided by files in the folder
that PAYING_FOLDER names: `broken` makes it refuse, `slow` makes it wait.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate

__all__ = ["AGENT", "BankRefused", "build", "graph"]

AGENT = "procurement"


class BankRefused(Exception):
    """The bank does not pay."""


class Purchase(TypedDict, total=False):
    """The thread's state."""

    supplier: str
    amount: int
    looppause: GateResult
    second: GateResult
    paid: bool


def build(client: Any) -> Any:
    """Read the order, ask finance, above 10,000 the board as well, then pay and tell."""
    builder = StateGraph(Purchase)
    builder.add_node("read_order", _nothing)
    builder.add_node("ask_finance", _gate(client, "#finance"))
    builder.add_node("ask_board", _gate(client, "#board", state_key="second"))
    builder.add_node("pay", _pay)
    builder.add_node("tell", _nothing)
    builder.add_edge(START, "read_order")
    builder.add_edge("read_order", "ask_finance")
    builder.add_conditional_edges("ask_finance", _after_finance, ["ask_board", "pay", END])
    builder.add_conditional_edges(
        "ask_board", route_on_gate(state_key="second"), {"approved": "pay", "halt": END}
    )
    builder.add_edge("pay", "tell")
    builder.add_edge("tell", END)
    return builder.compile()


def graph() -> Any:
    """As the receiver's process has it; its client reads the environment."""
    return build(LoopPauseClient())


def _gate(client: Any, channel: str, **settings: Any) -> Any:
    return make_interrupt_gate(
        client,
        agent_id=AGENT,
        action_builder=_action,
        recipients=[{"channel": "slack", "target": channel}],
        **settings,
    )


def _action(state: Purchase) -> dict[str, Any]:
    amount, supplier = state["amount"], state["supplier"]
    return {
        "type": "payment",
        "description": f"Pay {amount} EUR to {supplier}",
        "details": {
            "supplier": {"name": supplier, "iban": "DE02 1203 0000 0000 2020 51"},
            "amount": amount,
            "currency": "EUR",
            "lines": [
                {"item": "Steel beams", "quantity": 40, "eur": amount - 450},
                {"item": "Freight", "quantity": 1, "eur": 450},
            ],
        },
    }


def _nothing(state: Purchase) -> Purchase:
    return {}


def _after_finance(state: Purchase) -> str:
    if not state["looppause"]["approved"]:
        return END
    return "ask_board" if state["amount"] > 10_000 else "pay"


def _pay(state: Purchase) -> Purchase:
    folder = Path(os.environ["PAYING_FOLDER"])
    while (folder / "slow").exists():
        time.sleep(0.05)
    if (folder / "broken").exists():
        raise BankRefused("the account DE02 is blocked by the issuing bank (code R-17)")
    return {"paid": True}
