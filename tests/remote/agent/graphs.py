"""Graphs that the LangGraph server of these tests runs: their payments are lines of a file."""

from __future__ import annotations

import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate

WORLD = Path(os.environ["WORLD"])


class State(TypedDict, total=False):
    """`held` names a file: what is to be slow waits while it is there."""

    amount: int
    held: str
    fails: int
    looppause: GateResult
    second: GateResult
    done: Annotated[list[str], operator.add]


def note(name: str, text: str) -> int:
    """Append a line; return how often it stands there now."""
    with (WORLD / name).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
    return (WORLD / name).read_text(encoding="utf-8").splitlines().count(text)


def wait_while_held(state: State) -> None:
    while state.get("held") and (WORLD / state["held"]).exists():
        time.sleep(0.02)


def pay(state: State) -> dict[str, Any]:
    pause_id = str(state["looppause"]["pause_id"])
    if note("begun", pause_id) <= state.get("fails", 0):
        raise ValueError("the bank is closed")
    wait_while_held(state)
    note("paid", pause_id)
    return {"done": ["paid"]}


def look_up(state: State) -> dict[str, Any]:
    note("looked_up", str(state["amount"]))
    wait_while_held(state)
    return {"done": ["looked up"]}


def gate(kind: str, **settings: Any) -> Any:
    return make_interrupt_gate(
        LoopPauseClient(),
        agent_id="payer",
        action_builder=lambda state: {
            "type": kind,
            "description": f"{kind} {state['amount']}",
            "details": {"amount": state["amount"]},
        },
        recipients=[{"channel": "slack", "target": "#finance"}],
        **settings,
    )


def paying() -> Any:
    """One gate before the payment."""
    builder = StateGraph(State)
    builder.add_node("gate", gate("pay"))
    builder.add_node("pay", pay)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
    builder.add_edge("pay", END)
    return builder.compile()


def beside() -> Any:
    """A gate, and beside it a branch that takes its time."""
    builder = StateGraph(State)
    builder.add_node("gate", gate("pay"))
    builder.add_node("look_up", look_up)
    builder.add_edge(START, "gate")
    builder.add_edge(START, "look_up")
    return builder.compile()


def both() -> Any:
    """Two gates in one step, and one node after both."""
    builder = StateGraph(State)
    builder.add_node("first", gate("pay"))
    builder.add_node("other", gate("book", state_key="second"))
    builder.add_node("pay", pay)
    builder.add_edge(START, "first")
    builder.add_edge(START, "other")
    builder.add_edge(["first", "other"], "pay")
    return builder.compile()
