"""The agents under attack: each protected action writes one row into the ledger.

A worker loads `graphs` by name; the harness builds the same graphs over its own client. Every
node passes points at which the harness can hold its process (`faults.at` in world.sql).
"""

from __future__ import annotations

import asyncio
import json
import operator
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypedDict

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Send

from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate

__all__ = ["KINDS", "Agents", "beside", "fan", "pay", "three", "twice"]

KINDS = ("pay", "twice", "three", "fan", "beside")
RECIPIENTS = [{"channel": "slack", "target": "#finance"}]
TIMEOUT_HOURS = 0.1  # near enough that the sweep asks for a lost answer several times a minute


class State(TypedDict, total=False):
    """`slow` is how long an action takes (s), `asking` a gate's own code, `beside` a sibling."""

    amount: int
    slow: float
    asking: float
    beside: float
    raises: int
    fallback: str
    branches: int
    looppause: GateResult
    a: GateResult
    b: GateResult
    c: GateResult
    done: Annotated[list[str], operator.add]


class Branch(TypedDict, total=False):
    """One arm of the fan."""

    amount: int
    slow: float
    asking: float
    looppause: GateResult


class Done(TypedDict, total=False):
    """What an arm of the fan gives back."""

    done: Annotated[list[str], operator.add]


@dataclass(frozen=True)
class World:
    """The database that the actions write to."""

    url: str

    def act(self, node: str, pause_id: str, slow: float) -> None:
        """Execute the protected action once: one row, ended when the node has done its work."""
        thread_id = _thread_id()
        with psycopg.connect(self.url, autocommit=True) as connection:
            _at(connection, f"before_{node}", thread_id)
            row = connection.execute(
                "insert into faults.ledger (thread_id, node, pause_id, pid, process, task_id)"
                " values (%s, %s, %s, %s, %s, %s) returning id",
                (thread_id, node, pause_id, os.getpid(), _process(), _task_id()),
            ).fetchone()
            time.sleep(slow)
            _at(connection, f"after_{node}", thread_id)
            connection.execute(
                "update faults.ledger set ended_at = clock_timestamp() where id = %s", row
            )

    def raise_at_first(self, node: str, times: int) -> None:
        """Raise on the first `times` entries of this thread into the node."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            key = (_thread_id(), node)
            connection.execute("insert into faults.attempts (thread_id, node) values (%s, %s)", key)
            row = connection.execute(
                "select count(*) from faults.attempts where thread_id = %s and node = %s", key
            ).fetchone()
        if row is not None and row[0] <= times:
            raise RuntimeError(f"the provider is down (attempt {row[0]})")

    def at(self, point: str) -> None:
        """Stay here while the harness holds this point for the thread."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            _at(connection, point, _thread_id())


def _at(connection: psycopg.Connection, point: str, name: str) -> None:
    connection.execute("select faults.at(%s, %s)", (point, name))


def _process() -> str:
    return os.environ.get("PGAPPNAME", "agent")


def _task_id() -> str:
    info = get_runtime().execution_info
    assert info is not None
    return info.task_id


def _thread_id() -> str:
    return str(get_config()["configurable"]["thread_id"])


@dataclass(frozen=True)
class Agents:
    """Builds every kind of agent over one client and one world."""

    client: LoopPauseClient
    world: World

    @classmethod
    def from_env(cls) -> Agents:
        """As a worker has them."""
        return cls(LoopPauseClient(), World(os.environ["RESUMER_DATABASE_URL"]))

    def build(self, kind: str) -> Any:
        """The graph of this kind, compiled without a checkpointer."""
        return getattr(self, f"_{kind}")()

    def _pay(self) -> Any:
        """START → gate → pay → notify."""
        builder = StateGraph(State)
        builder.add_node("gate", self._gate("pay", "looppause"))
        builder.add_node("pay", self._action("pay", "looppause"))
        builder.add_node("notify", self._action("notify", "looppause"))
        builder.add_edge(START, "gate")
        builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
        builder.add_edge("pay", "notify")
        return builder.compile()

    def _twice(self) -> Any:
        """Two gates one after another; the worker asks the second question."""
        builder = StateGraph(State)
        builder.add_node("gate", self._gate("twice", "a"))
        builder.add_node("pay", self._action("pay", "a"))
        builder.add_node("gate_two", self._gate("twice", "b"))
        builder.add_node("pay_two", self._action("pay_two", "b"))
        builder.add_edge(START, "gate")
        builder.add_conditional_edges("gate", route_on_gate("a"), {"approved": "pay", "halt": END})
        builder.add_edge("pay", "gate_two")
        builder.add_conditional_edges(
            "gate_two", route_on_gate("b"), {"approved": "pay_two", "halt": END}
        )
        return builder.compile()

    def _three(self) -> Any:
        """Three gates in one superstep, then one node that pays what was approved."""
        builder = StateGraph(State)
        for key in "abc":
            builder.add_node(f"gate_{key}", self._gate("three", key))
            builder.add_edge(START, f"gate_{key}")
        builder.add_node("pay", self._pay_approved)
        builder.add_edge([f"gate_{key}" for key in "abc"], "pay")
        return builder.compile()

    def _fan(self) -> Any:
        """Subgraphs in parallel, each with a gate and a payment of its own."""
        arm = StateGraph(Branch, output_schema=Done)
        arm.add_node("gate", self._gate("fan", "looppause"))
        arm.add_node("pay", self._action("pay", "looppause"))
        arm.add_edge(START, "gate")
        arm.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
        builder = StateGraph(State)
        builder.add_node("arm", arm.compile())
        builder.add_conditional_edges(START, _arms, ["arm"])
        builder.add_node("close", lambda _state: {"done": ["closed"]})
        builder.add_edge("arm", "close")
        return builder.compile()

    def _beside(self) -> Any:
        """A gate, and a sibling that is still at work when the thread could be resumed."""
        builder = StateGraph(State)
        builder.add_node("gate", self._gate("beside", "looppause"))
        builder.add_node("sibling", self._sibling)
        builder.add_node("pay", self._action("pay", "looppause"))
        builder.add_edge(START, "gate")
        builder.add_edge(START, "sibling")
        builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
        return builder.compile()

    def _gate(self, agent_id: str, key: str) -> Any:
        return make_interrupt_gate(
            self.client,
            agent_id=agent_id,
            action_builder=self._asking(key),
            recipients=RECIPIENTS,
            state_key=key,
            timeout_hours=TIMEOUT_HOURS,
        )

    def _asking(self, key: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        def action(state: Mapping[str, Any]) -> dict[str, Any]:
            self.world.at("gate")
            time.sleep(state.get("asking", 0))
            return {
                "type": "payment",
                "description": f"Pay {state['amount']} EUR",
                "details": {"amount": state["amount"], "key": key, "thread": _thread_id()},
            }

        return action

    def _action(self, node: str, key: str) -> Any:
        def action(state: Any) -> dict[str, Any]:
            if node == "pay" and state.get("raises"):
                self.world.raise_at_first(node, state["raises"])
            self.world.act(node, str(state[key]["pause_id"]), state.get("slow", 0))
            return {"done": [node]}

        return action

    def _sibling(self, state: Any) -> dict[str, Any]:
        self.world.act("sibling", "", state.get("beside", 0))
        return {"done": ["sibling"]}

    def _pay_approved(self, state: Any) -> dict[str, Any]:
        for key in "abc":
            if state[key]["approved"] is True:
                self.world.act("pay", state[key]["pause_id"], state.get("slow", 0))
        return {"done": ["paid"]}


def _arms(state: Any) -> list[Send]:
    shared = {"slow": state.get("slow", 0), "asking": state.get("asking", 0)}
    arms = range(state.get("branches", 3))
    return [Send("arm", {"amount": state["amount"] + arm, **shared}) for arm in arms]


def _graph(kind: str) -> Any:
    return Agents.from_env().build(kind)


async def hibernate(kind: str, thread_id: str, state: Mapping[str, Any]) -> None:
    """Run a thread in this process, with everything from the environment, until it hibernates."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    agents = Agents.from_env()
    async with AsyncPostgresSaver.from_conn_string(agents.world.url) as saver:
        graph = agents.build(kind)
        graph.checkpointer = saver
        await graph.ainvoke(
            {"amount": 100, **state}, {"configurable": {"thread_id": thread_id}}, durability="sync"
        )


# For RESUMER_GRAPHS.
pay = partial(_graph, "pay")
twice = partial(_graph, "twice")
three = partial(_graph, "three")
fan = partial(_graph, "fan")
beside = partial(_graph, "beside")

if __name__ == "__main__":
    asyncio.run(hibernate(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
