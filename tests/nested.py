"""An agent whose one node makes several gated calls, each in a nested graph of its own.

The node stops at the first call that hibernates, so the root graph shows one question of several:
what an SDK's own integrations avoid, and any hand-written node may do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.config import get_config
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from looppause_sdk import LoopPauseClient
from tests.agents import RECIPIENTS, State

_SCRATCHPAD = "__pregel_scratchpad"


@dataclass
class Calls:
    """What was run, and with whose approval."""

    client: LoopPauseClient
    names: tuple[str, ...] = ("a", "b")
    paid: list[tuple[str, str]] = field(default_factory=list)
    pauses: dict[str, str] = field(default_factory=dict)
    entered: list[str] = field(default_factory=list)
    before_paying: Callable[[str], None] = lambda _: None
    stop: asyncio.Event | None = None

    def pay(self, name: str) -> str:
        """Ask, hibernate, and pay if this very question was approved."""
        return self.act(name, self.ask(name))

    def ask(self, name: str) -> dict[str, Any]:
        """Open the pause and hibernate; the answer to it."""
        place = get_config()["configurable"]
        self.entered.append(name)
        pause_id = self.client.create_pause(
            agent_id="procurement",
            action={"type": "payment", "description": f"Pay {name}", "details": {"name": name}},
            recipients=RECIPIENTS,
            idempotency_key=f"{place['thread_id']}-{name}",
        )
        self.pauses[name] = pause_id
        answer: dict[str, Any] = interrupt({"pause_id": pause_id, "agent_id": "procurement"})
        assert answer["pause_id"] == pause_id, "one call's approval was spent on another"
        return answer

    def act(self, name: str, answer: dict[str, Any]) -> str:
        """Pay what was approved."""
        if answer["decision"] != "approved":
            return f"{name}: no"
        self.before_paying(name)
        self.paid.append((name, answer["responder"]))
        return f"{name}: paid"


def in_threads(calls: Calls) -> Any:
    """START → a sync node that makes its calls in threads → END."""

    def node(_: State) -> dict[str, Any]:
        place = get_config()["configurable"]

        def call(name: str) -> str:
            nested: Any = entrypoint()(calls.pay)
            result: str = nested.invoke(name, _inside(place, name))
            return result

        with ThreadPoolExecutor() as pool:
            running = [pool.submit(copy_context().run, call, name) for name in calls.names]
        return {"done": [future.result() for future in running]}

    return _one_node(node)


def gathered(calls: Calls) -> Any:
    """START → a coroutine that gathers its calls → END."""

    async def node(_: State) -> dict[str, Any]:
        place = get_config()["configurable"]

        async def pay(name: str) -> str:
            answer = calls.ask(name)
            if calls.stop is not None:  # until the run is cancelled
                calls.stop.set()
                await asyncio.Event().wait()
            return calls.act(name, answer)

        waiting = [entrypoint()(pay).ainvoke(name, _inside(place, name)) for name in calls.names]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return {"done": results}

    return _one_node(node)


def _one_node(node: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder.compile()


def _inside(place: dict[str, Any], name: str) -> Any:
    return {
        "configurable": {
            **place,
            "checkpoint_ns": f"{place['checkpoint_ns']}|{name}",
            _SCRATCHPAD: replace(place[_SCRATCHPAD], subgraph_counter=lambda: 0),
        }
    }
