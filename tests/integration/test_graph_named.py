"""`graph=` of every gate: in the interrupt's value, for the receiver, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from looppause_sdk.langchain import ApprovalMiddleware, gate_tool, signed_review
from looppause_sdk.langgraph import make_interrupt_gate, requires_approval
from looppause_sdk.testing import FakeLoopPause
from tests import agents
from tests.chat import ScriptedChat, call, calling

USUAL: dict[str, Any] = {"agent_id": "billing", "recipients": agents.RECIPIENTS}
STATE = {"amount": 7, "messages": [HumanMessage("pay")]}


@tool
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def chatting(tools: list[Any], *middleware: Any) -> Any:
    """An agent whose model calls `pay`."""
    model = ScriptedChat([calling(call("pay", amount=7))])
    return create_agent(model, tools, middleware=middleware, checkpointer=InMemorySaver())


def one_node(node: Any) -> Any:
    """START → the node."""
    builder = StateGraph(agents.State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=InMemorySaver())


def by_gate(client: Any, **graph: Any) -> Any:
    gate = make_interrupt_gate(client, action_builder=agents.action_of, **USUAL, **graph)
    return one_node(gate)


def by_function(client: Any, **graph: Any) -> Any:
    @requires_approval(client, **USUAL, **graph)
    def spend(amount: int) -> str:
        return f"spent {amount}"

    return one_node(lambda state: {"done": [spend(state["amount"])]})


def by_tool(client: Any, **graph: Any) -> Any:
    return chatting([gate_tool(pay, client, **USUAL, **graph)])


def by_middleware(client: Any, **graph: Any) -> Any:
    return chatting([pay], ApprovalMiddleware(client, tools={"pay": {}}, **USUAL, **graph))


def by_review(client: Any, **graph: Any) -> Any:
    stock = HumanInTheLoopMiddleware({"pay": {"allowed_decisions": ["approve", "reject"]}})
    return chatting([pay], signed_review(stock, client, **USUAL, **graph))


@pytest.mark.parametrize("make", [by_gate, by_function, by_tool, by_middleware, by_review])
def test_the_interrupt_names_the_graph(make: Callable[..., Any], looppause: FakeLoopPause) -> None:
    """If it is given; LoopPause is not told, and the value begins with the pause as ever."""
    client = agents.client_of(looppause)
    values = []
    for named in ({"graph": "refunds"}, {}):
        result = make(client, **named).invoke(STATE, agents.on("t"))
        values.append(result["__interrupt__"][0].value)
    assert [value.get("graph", "not said") for value in values] == ["refunds", "not said"]
    assert next(iter(values[0])) == "pause_id"
    assert all("graph" not in document["request"] for document in looppause.documents())
