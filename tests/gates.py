"""Parts for the tests of gates: clients, agents over every kind of state, what a thread waits for."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from looppause_sdk import AsyncLoopPauseClient
from looppause_sdk.langgraph import GateResult, make_polling_gate, route_on_gate
from looppause_sdk.testing import FakeLoopPause
from tests.agents import RECIPIENTS, State, action_of, client_of, on, payment_agent


@dataclass
class DataState:
    """As `State`, but a dataclass."""

    amount: int = 0
    looppause: GateResult | None = None
    done: Annotated[list[str], operator.add] = field(default_factory=list)


class ModelState(BaseModel):
    """As `State`, but a pydantic model."""

    amount: int = 0
    looppause: GateResult | None = None
    done: Annotated[list[str], operator.add] = []


@dataclass
class Payments:
    """Counts each execution of the protected action, whatever the state is."""

    made: list[GateResult] = field(default_factory=list)

    def pay(self, state: Any) -> dict[str, Any]:
        self.made.append(state["looppause"] if isinstance(state, dict) else state.looppause)
        return {"done": ["paid"]}


def async_client_of(looppause: FakeLoopPause, **settings: Any) -> AsyncLoopPauseClient:
    """An async client whose requests go to `looppause` without a network."""
    keys: dict[str, Any] = (
        {"signing_secret": looppause.secret}
        if looppause.scheme == "hmac"
        else {"public_keys": [looppause.public_key]}
    )
    http = httpx.AsyncClient(transport=looppause.async_transport)
    return AsyncLoopPauseClient("test-key", http_client=http, env={}, **keys, **settings)


def amount_of(state: Any) -> dict[str, Any]:
    """What a person is shown, out of any kind of state."""
    return action_of(state if isinstance(state, Mapping) else {"amount": state.amount})


def agent(
    looppause: FakeLoopPause, saver: Any, *, pay: Any = None, client: Any = None, **settings: Any
) -> Any:
    """The payment agent over `saver`, asking at `looppause`."""
    paying = pay or (lambda _: {"done": ["paid"]})
    return over(payment_agent(client or client_of(looppause), paying, **settings), saver)


def agent_with_state(schema: type, node: Any, pay: Callable[[Any], Any], saver: Any) -> Any:
    """The payment agent over a state of that type."""
    builder: Any = StateGraph(schema)
    builder.add_node("gate", node)
    builder.add_node("pay", pay)
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
    return builder.compile(checkpointer=saver)


def one_node(node: Any, saver: Any = None, schema: type = State) -> Any:
    """START → node → END."""
    builder: Any = StateGraph(schema)
    builder.add_node("gate", node)
    builder.add_edge(START, "gate")
    return builder.compile(checkpointer=saver)


def over(graph: Any, saver: Any) -> Any:
    """The graph with this checkpointer."""
    attached = copy.copy(graph)
    attached.checkpointer = saver
    return attached


def polling(client: Any, **settings: Any) -> Any:
    """A polling gate with the usual settings."""
    usual = {"agent_id": "procurement", "action_builder": action_of, "recipients": RECIPIENTS}
    return make_polling_gate(client, **{**usual, **settings})


def asked(graph: Any, thread_id: str = "t") -> list[str]:
    """The pauses the thread waits for."""
    return [found.value["pause_id"] for found in graph.get_state(on(thread_id)).interrupts]


def answer(graph: Any, value: Any, thread_id: str = "t", **options: Any) -> Any:
    """Resume the one interrupt of the thread with `value`, whatever it is."""
    [waiting] = graph.get_state(on(thread_id)).interrupts
    return graph.invoke(Command(resume={waiting.id: value}), on(thread_id), **options)


def cut_off(looppause: FakeLoopPause) -> None:
    """From now on every request fails, and is counted by `requests_since`."""
    looppause.fail_next(times=_MANY)


def requests_since(looppause: FakeLoopPause) -> int:
    """How many requests came since `cut_off`."""
    return _MANY - len(looppause.faults)


_MANY = 1000
