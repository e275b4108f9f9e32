"""Parts for the tests of gated calls: a till, and every kind of agent that can reach for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command
from langgraph_supervisor import create_supervisor
from pydantic import PrivateAttr
from typing_extensions import override

from looppause_sdk.langchain import ApprovalMiddleware, gate_tool
from looppause_sdk.testing import FakeLoopPause
from tests.agents import RECIPIENTS, client_of, on
from tests.chat import ScriptedChat, call, calling
from tests.gates import async_client_of

INTERRUPT = "__interrupt__"

__all__ = [
    "AGENTS",
    "RUNS",
    "USUAL",
    "HearingChat",
    "Run",
    "Till",
    "node_agent",
    "pauses_by_amount",
    "plain_node",
    "tool_messages",
]

USUAL: dict[str, Any] = {"agent_id": "billing", "recipients": RECIPIENTS}


class HearingChat(ScriptedChat):
    """Keeps the tool messages it was shown, by their call's id."""

    _heard: dict[str, ToolMessage] = PrivateAttr(default_factory=dict)

    def __init__(self, messages: Sequence[AIMessage | str]) -> None:
        super().__init__(messages)

    @property
    def heard(self) -> dict[str, ToolMessage]:
        return self._heard

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        said = [message for message in messages if isinstance(message, ToolMessage)]
        ids = [message.tool_call_id for message in said]
        assert len(set(ids)) == len(ids), f"a call was answered twice: {ids}"
        self._heard.update(zip(ids, said, strict=True))
        return super()._generate(messages, *args, **kwargs)


@dataclass
class Till:
    """Notes each payment really made."""

    paid: list[tuple[str, int]] = field(default_factory=list)

    def tool(self, name: str = "pay") -> BaseTool:
        """A tool that pays, in both forms."""

        def pay(amount: int, to: str = "ACME") -> str:
            self.paid.append((to, amount))
            return f"paid {amount} to {to}"

        async def apay(amount: int, to: str = "ACME") -> str:
            await asyncio.sleep(0)
            return pay(amount, to)

        made = tool(name, description="Pay an invoice.")(pay)
        made.coroutine = apay
        return made


# -- agents ------------------------------------------------------------------------------------


def middleware_agent(
    client: Any, tools: Sequence[BaseTool], model: HearingChat, saver: Any, **settings: Any
) -> Any:
    """`create_agent` with the tools as they are, and the middleware."""
    gates: dict[str, dict[str, Any]] = {made.name: {} for made in tools}
    guard = ApprovalMiddleware(client, gates, **{**USUAL, **settings})
    return create_agent(model, list(tools), middleware=[guard], checkpointer=saver)


def gated_tool_agent(
    client: Any, tools: Sequence[BaseTool], model: HearingChat, saver: Any, **settings: Any
) -> Any:
    """`create_agent` with gated tools."""
    return create_agent(model, _gated(client, tools, settings), checkpointer=saver)


def node_agent(
    client: Any, tools: Sequence[BaseTool], model: HearingChat, saver: Any, **settings: Any
) -> Any:
    """A model and a plain ToolNode in a loop: all calls of a message in one task."""
    builder: Any = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode(_gated(client, tools, settings)))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=saver)


def deep_agent(
    client: Any, tools: Sequence[BaseTool], model: HearingChat, saver: Any, **settings: Any
) -> Any:
    """A deepagents subagent with gated tools."""
    delegating = calling(call("task", _id="task-1", description="pay", subagent_type="payer"))
    payer: Any = {
        "name": "payer",
        "description": "pays",
        "system_prompt": "pay",
        "tools": _gated(client, tools, settings),
        "model": model,
    }
    return create_deep_agent(
        model=ScriptedChat([delegating]), subagents=[payer], checkpointer=saver
    )


def supervised_agent(
    client: Any, tools: Sequence[BaseTool], model: HearingChat, saver: Any, **settings: Any
) -> Any:
    """A supervisor that hands over to an agent with gated tools."""
    model.messages = [AIMessage("the supervisor's word"), *model.messages]
    payer = create_agent(model, _gated(client, tools, settings), name="payer")
    boss = ScriptedChat([calling(call("transfer_to_payer", _id="hand-1"))])
    return create_supervisor([payer], model=boss, output_mode="full_history").compile(
        checkpointer=saver
    )


AGENTS: dict[str, Callable[..., Any]] = {
    "middleware": middleware_agent,
    "gated tool": gated_tool_agent,
    "tool node": node_agent,
    "deepagents": deep_agent,
    "supervisor": supervised_agent,
}


def plain_node(
    tools: Sequence[Any], saver: Any = None, *, retry_policy: Any = None, **options: Any
) -> Any:
    """START → ToolNode → END: the tools as given, no model."""
    builder: Any = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode(tools, **options), retry_policy=retry_policy)
    builder.add_edge(START, "tools")
    return builder.compile(checkpointer=InMemorySaver() if saver is None else saver)


def _gated(client: Any, tools: Sequence[BaseTool], settings: Mapping[str, Any]) -> list[Any]:
    return [gate_tool(made, client, **{**USUAL, **settings}) for made in tools]


# -- running -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """How a graph is run: with `invoke` in a thread, or with `ainvoke`, and by which client."""

    is_async: bool
    client_of: Callable[..., Any]

    async def start(self, graph: Any, *calls: Any, thread_id: str = "t", **options: Any) -> Any:
        """A new run: for an agent, or with `calls` for a plain node."""
        said = calling(*calls) if calls else "pay, please"
        return await self.run(graph, {"messages": [said]}, thread_id, **options)

    async def run(self, graph: Any, value: Any, thread_id: str = "t", **options: Any) -> Any:
        if self.is_async:
            return await graph.ainvoke(value, on(thread_id), **options)
        return await asyncio.to_thread(graph.invoke, value, on(thread_id), **options)

    async def state(self, graph: Any, thread_id: str = "t") -> Any:
        if self.is_async:
            return await graph.aget_state(on(thread_id))
        return await asyncio.to_thread(graph.get_state, on(thread_id))

    async def waiting(self, graph: Any, thread_id: str = "t") -> dict[str, str]:
        """The pauses the thread waits for, each with its interrupt."""
        state = await self.state(graph, thread_id)
        return {found.value["pause_id"]: found.id for found in state.interrupts}

    async def asked(self, graph: Any, thread_id: str = "t") -> dict[str, str]:
        """As `waiting`, with what the root graph does not show: every question ever stored."""
        return {
            found.value["pause_id"]: found.id
            for stored in graph.checkpointer.list(on(thread_id))
            for _, channel, interrupts in stored.pending_writes or ()
            if channel == INTERRUPT
            for found in interrupts
        }

    async def answer(self, graph: Any, *proofs: Any, thread_id: str = "t") -> Any:
        """Resume with these proofs, each at its own interrupt, all in one map."""
        waiting = await self.waiting(graph, thread_id)
        answers = {waiting[proof["pause_id"]]: proof for proof in proofs}
        return await self.run(graph, Command(resume=answers), thread_id)


RUNS: dict[str, Run] = {
    "sync": Run(is_async=False, client_of=client_of),
    "async": Run(is_async=True, client_of=async_client_of),
    "async run, sync client": Run(is_async=True, client_of=client_of),
}


def tool_messages(state: Any) -> list[ToolMessage]:
    """What the tools of the last agent or node said."""
    values = state if isinstance(state, Mapping) else state.values
    return [said for said in values["messages"] if isinstance(said, ToolMessage)]


def pauses_by_amount(looppause: FakeLoopPause) -> dict[int, str]:
    """Which pause asks for which amount. Fails if two ask for the same."""
    found = [
        (document["request"]["action"]["details"]["amount"], pause_id)
        for pause_id, document in looppause.pauses.items()
    ]
    assert len(dict(found)) == len(found), f"asked twice: {found}"
    return dict(found)
