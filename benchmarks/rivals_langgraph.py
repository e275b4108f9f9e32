"""What `rivals.py` has `langgraph dev` resume: `interrupt`, and a node that tells it ran."""

from __future__ import annotations

import os
import time
from typing import Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    """`key` names the thread."""

    key: str


def gate(state: State) -> Command[Literal["act", "__end__"]]:
    """Approval before an action, as the page on interrupts has it."""
    answer: dict[str, Any] = interrupt(
        {
            "action": {
                "type": "payment",
                "description": "Pay 12450 EUR to Acme Corp",
                "details": {"key": state["key"]},
            }
        }
    )
    if answer["decision"] == "approved":
        return Command(goto="act")
    return Command(goto="__end__")


def act(state: State) -> State:
    """What the gate guards."""
    told = os.open(os.environ["BENCH_TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(told, f"{state['key']} {time.monotonic()}\n".encode())
    os.close(told)
    return {}


builder = StateGraph(State)
builder.add_node("gate", gate)
builder.add_node("act", act)
builder.add_edge(START, "gate")
builder.add_edge("act", END)
graph = builder.compile()
