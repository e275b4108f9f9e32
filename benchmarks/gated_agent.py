"""One agent, twice: it asks a person, and the node behind the gate tells when it runs.

`ours` hibernates at the interrupt gate of `looppause_sdk`; `theirs` waits in the polling gate of
looppause 0.1.0, with its own settings. The node sends the thread's key and the time of the
monotonic clock, which is one for all processes of a machine, to the UNIX socket `BENCH_TOLD`.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, TypedDict

import looppause_client
import looppause_langgraph
from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import make_interrupt_gate, route_on_gate

__all__ = ["ours", "theirs"]

ASKED: dict[str, Any] = {
    "agent_id": "procurement",
    "action_builder": lambda state: {
        "type": "payment",
        "description": "Pay 12450 EUR to Acme Corp",
        "details": {"key": state["key"]},
    },
    "recipients": [{"channel": "slack", "target": "#finance"}],
}


class State(TypedDict, total=False):
    """`key` names the thread."""

    key: str
    looppause: dict[str, Any]


def act(state: State) -> State:
    """What the gate guards."""
    assert state["looppause"]["approved"], state["looppause"]
    told = os.environ.get("BENCH_TOLD")
    if told:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.sendto(json.dumps([state["key"], time.monotonic()]).encode(), told)
    return {}


def ours(checkpointer: Any = None, client: LoopPauseClient | None = None) -> Any:
    """Hibernates; the receiver brings a checkpointer of its own."""
    gate = make_interrupt_gate(client or LoopPauseClient(), **ASKED)
    return _graph(gate, route_on_gate()).compile(checkpointer=checkpointer)


def theirs() -> Any:
    """Waits in its node, with neither a checkpointer nor a webhook, as its module says."""
    client = looppause_client.LoopPauseClient(base_url=os.environ["LOOPPAUSE_API_URL"])
    gate = looppause_langgraph.make_polling_gate(client, **ASKED)
    return _graph(gate, looppause_langgraph.route_on_gate()).compile()


def _graph(gate: Any, route: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("gate", gate)
    builder.add_node("act", act)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route, {"approved": "act", "halt": END})
    builder.add_edge("act", END)
    return builder
