"""Agents for the tests: small graphs with real gates, and the world they act on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate
from looppause_sdk.testing import FakeLoopPause

RECIPIENTS = [{"channel": "slack", "target": "#finance"}]


class State(TypedDict, total=False):
    """The state of every agent here."""

    amount: int
    looppause: GateResult
    second: GateResult
    done: Annotated[list[str], operator.add]


@dataclass
class Ledger:
    """Counts each execution of the protected action."""

    payments: list[dict[str, Any]] = field(default_factory=list)

    def pay(self, state: State) -> dict[str, Any]:
        self.payments.append(dict(state["looppause"]))
        return {"done": ["paid"]}


def client_of(looppause: FakeLoopPause, **settings: Any) -> LoopPauseClient:
    """A client whose requests go to `looppause` without a network."""
    keys: dict[str, Any] = (
        {"signing_secret": looppause.secret}
        if looppause.scheme == "hmac"
        else {"public_keys": [looppause.public_key]}
    )
    return LoopPauseClient(
        "test-key",
        http_client=httpx.Client(transport=looppause.transport),
        env={},
        **keys,
        **settings,
    )


def action_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a person is shown."""
    return {
        "type": "payment",
        "description": f"Pay {state['amount']} EUR",
        "details": {"amount": state["amount"]},
    }


def gate(client: Any, **settings: Any) -> Any:
    """An interrupt gate with the usual settings."""
    return make_interrupt_gate(
        client,
        **{
            "agent_id": "procurement",
            "action_builder": action_of,
            "recipients": RECIPIENTS,
            **settings,
        },
    )


def payment_agent(client: Any, pay: Callable[..., Any], **settings: Any) -> Any:
    """START → gate → pay, or the end without payment; compiled without a checkpointer."""
    builder = StateGraph(State)
    builder.add_node("gate", gate(client, **settings))
    builder.add_node("pay", pay)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
    builder.add_edge("pay", END)
    return builder.compile()


@asynccontextmanager
async def hibernating(graph: Any, url: str) -> Any:
    """`graph` over a saver of the agent's own, as the agent's process has it."""
    import copy

    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        attached = copy.copy(graph)
        attached.checkpointer = saver
        yield attached


def on(thread_id: str) -> dict[str, Any]:
    """The configuration of a thread."""
    return {"configurable": {"thread_id": thread_id}}
