"""A gate at a tool: what a person sees of a call, and what becomes of every kind of tool."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from pydantic import BaseModel, Field, field_validator
from typing_extensions import override

from looppause_sdk import GateError, LoopPauseConfigError, NoCheckpointer
from looppause_sdk.langchain import gate_tool
from looppause_sdk.testing import FakeLoopPause
from tests.chat import ScriptedChat, call, calling
from tests.gated import RUNS, USUAL, Run, Till, plain_node, tool_messages


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


@pytest.fixture
def sync_run() -> Run:
    return RUNS["sync"]


async def asked(run: Run, looppause: FakeLoopPause, graph: Any, /, **arguments: Any) -> Any:
    """Call the one tool of the graph; return what the person was shown of the arguments."""
    await run.start(graph, call("pay", **arguments))
    [document] = looppause.pauses.values()
    return document["request"]["action"]["details"]


async def approved(run: Run, looppause: FakeLoopPause, graph: Any) -> ToolMessage:
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id))
    [said] = tool_messages(await run.state(graph))
    return said


# -- what a person sees ------------------------------------------------------------------------


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class Payee(BaseModel):
    name: str
    iban: str = "unknown"


class Payment(BaseModel):
    amount: Decimal = Field(gt=0)
    due: date
    payee: Payee
    currency: Currency = Currency.EUR
    tags: list[str] = Field(default_factory=list)


async def test_arguments_are_shown_as_the_tool_takes_them(
    run: Run, looppause: FakeLoopPause
) -> None:
    """Converted, with defaults, in plain notation; the tool gets the real types."""
    got: list[Any] = []

    @tool(args_schema=Payment)
    def pay(**payment: Any) -> str:
        """Pay."""
        got.append(payment)
        return "paid"

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    shown = await asked(
        run, looppause, graph, amount="10.50", due="2026-01-31", payee={"name": "Bolt"}
    )
    assert shown == {
        "amount": "10.50",
        "due": "2026-01-31",
        "payee": {"name": "Bolt"} | shown["payee"],
        "currency": "EUR",
    }
    await approved(run, looppause, graph)
    [payment] = got
    assert (payment["amount"], payment["due"]) == (Decimal("10.50"), date(2026, 1, 31))
    assert payment["payee"] == Payee(name="Bolt")


async def test_a_call_that_cannot_be_made_asks_nobody(run: Run, looppause: FakeLoopPause) -> None:
    """The model is told what is wrong, and its values are not repeated."""
    till = Till()
    graph = plain_node([gate_tool(till.tool(), run.client_of(looppause), **USUAL)])
    state = await run.start(graph, call("pay", amount="many"))
    [said] = tool_messages(state)
    assert (said.status, said.tool_call_id) == ("error", "call-1")
    assert "amount" in said.content
    assert "many" not in said.content
    assert (till.paid, len(looppause.pauses)) == ([], 0)


async def test_a_tool_described_by_json_schema(run: Run, looppause: FakeLoopPause) -> None:
    """As MCP tools are: the arguments are shown as they came."""
    got: list[Any] = []
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "integer"}, "to": {"type": "string", "default": "x"}},
        "required": ["amount"],
    }

    def pay(**payment: Any) -> str:
        got.append(payment)
        return "paid"

    async def apay(**payment: Any) -> str:
        return pay(**payment)

    made = StructuredTool(
        name="pay", description="Pay.", args_schema=schema, func=pay, coroutine=apay
    )
    graph = plain_node([gate_tool(made, run.client_of(looppause), **USUAL, fields=["to"])])
    assert await asked(run, looppause, graph, amount=5) == {"amount": 5}
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id, fields={"to": "Bolt"}))
    assert got == [{"amount": 5, "to": "Bolt"}]


class SecretState(MessagesState):
    password: str


async def test_what_is_injected_is_not_shown_and_reaches_the_tool(
    run: Run, looppause: FakeLoopPause
) -> None:
    """State, store, runtime, call id and config; the secret is in no pause and no nested row."""
    got: list[Any] = []

    def pay(
        amount: int,
        password: Annotated[str, InjectedState("password")],
        store: Annotated[Any, InjectedStore()],
        runtime: ToolRuntime,
        call_id: Annotated[str, InjectedToolCallId],
        config: RunnableConfig,
    ) -> str:
        """Pay."""
        thread_id = config["configurable"]["thread_id"]
        got.append((amount, password, store, runtime.state["password"], call_id, thread_id))
        return "paid"

    saver, store = InMemorySaver(), InMemoryStore()
    builder: Any = StateGraph(SecretState)
    gated = gate_tool(tool(pay), run.client_of(looppause), **USUAL)
    builder.add_node("tools", ToolNode([gated]))
    builder.add_edge(START, "tools")
    graph = builder.compile(checkpointer=saver, store=store)
    secret = "correct horse battery staple"
    value = {"messages": [calling(call("pay", amount=5))], "password": secret}
    await run.run(graph, value)
    [pause_id] = await run.waiting(graph)
    assert looppause.pauses[pause_id]["request"]["action"]["details"] == {"amount": 5}
    assert secret not in json.dumps(looppause.pauses[pause_id])
    await run.answer(graph, looppause.decide(pause_id))
    assert got == [(5, secret, store, secret, "call-1", "t")]
    nested = [found for found in saver.list(None) if found.config["configurable"]["checkpoint_ns"]]
    assert nested
    assert secret not in repr([(found.checkpoint, found.pending_writes) for found in nested])


async def test_the_model_sees_the_same_tool(looppause: FakeLoopPause, sync_run: Run) -> None:
    """Name, description and schema are those of the tool; what is injected is not among them."""

    @tool
    def pay(amount: int, state: Annotated[dict[str, Any], InjectedState], to: str = "x") -> str:
        """Pay an invoice."""
        return "paid"

    gated = gate_tool(pay, sync_run.client_of(looppause), **USUAL)
    mine: Any = gated.tool_call_schema
    theirs: Any = pay.tool_call_schema
    assert mine.model_json_schema() == theirs.model_json_schema()
    assert (gated.name, gated.description, gated.args) == (pay.name, pay.description, pay.args)


# -- kinds of tools ----------------------------------------------------------------------------


class ClassTool(BaseTool):
    name: str = "pay"
    description: str = "Pay."
    paid: list[int] = Field(default_factory=list)

    @override
    def _run(self, amount: int) -> str:
        self.paid.append(amount)
        return f"paid {amount}"


async def test_a_tool_that_is_a_class(run: Run, looppause: FakeLoopPause) -> None:
    """Its `_run` says what it takes."""
    made = ClassTool()
    graph = plain_node([gate_tool(made, run.client_of(looppause), **USUAL)])
    assert await asked(run, looppause, graph, amount=5) == {"amount": 5}
    assert (await approved(run, looppause, graph)).content == "paid 5"
    assert made.paid == [5]


async def test_a_plain_function(run: Run, looppause: FakeLoopPause) -> None:
    """It becomes a tool, as elsewhere."""

    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    assert await asked(run, looppause, graph, amount=5) == {"amount": 5}
    assert (await approved(run, looppause, graph)).content == "paid 5"


async def test_an_async_function_runs_under_ainvoke(looppause: FakeLoopPause) -> None:
    """A tool with no sync form."""
    run = RUNS["async"]

    async def pay(amount: int) -> str:
        """Pay."""
        await asyncio.sleep(0)
        return f"paid {amount}"

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    await asked(run, looppause, graph, amount=5)
    assert (await approved(run, looppause, graph)).content == "paid 5"


async def test_an_async_client_under_invoke_is_refused(looppause: FakeLoopPause) -> None:
    """The error says what to do, and nothing is asked or paid."""
    till = Till()
    graph = plain_node([gate_tool(till.tool(), RUNS["async"].client_of(looppause), **USUAL)])
    with pytest.raises(GateError, match="ainvoke"):
        await RUNS["sync"].start(graph, call("pay", amount=5))
    assert (till.paid, len(looppause.pauses)) == ([], 0)


class Unserialisable:
    """An open connection, a client: what no checkpoint can hold."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")


async def test_artifacts_are_kept_where_they_can_be(run: Run, looppause: FakeLoopPause) -> None:
    """The message with its artifact reaches the state as it would without a gate."""

    @tool(response_format="content_and_artifact")
    def pay(amount: int) -> tuple[str, dict[str, int]]:
        """Pay."""
        return f"paid {amount}", {"receipt": amount}

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    await asked(run, looppause, graph, amount=5)
    said = await approved(run, looppause, graph)
    assert (said.content, said.artifact) == ("paid 5", {"receipt": 5})


async def test_an_artifact_no_checkpoint_can_hold(run: Run, looppause: FakeLoopPause) -> None:
    """Approved first of two: its message comes out of the memory later, without the artifact."""
    paid: list[int] = []

    @tool(response_format="content_and_artifact")
    def pay(amount: int) -> tuple[str, Any]:
        """Pay."""
        paid.append(amount)
        return f"paid {amount}", Unserialisable().connection

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    await run.start(graph, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
    waiting = await run.waiting(graph)
    first, second = waiting
    await run.answer(graph, looppause.decide(first))
    assert list(await run.waiting(graph)) == [second]
    await run.answer(graph, looppause.decide(second, "rejected"))
    assert len(paid) == 1
    said = tool_messages(await run.state(graph))
    assert {message.status for message in said} == {"success", "error"}


async def test_a_tool_that_returns_a_command(run: Run, looppause: FakeLoopPause) -> None:
    """It updates the state once, also when it comes out of the memory."""
    paid: list[int] = []

    @tool
    def pay(amount: int, call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Pay."""
        paid.append(amount)
        said = ToolMessage(f"paid {amount}", tool_call_id=call_id)
        return Command(update={"messages": [said]})

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    await run.start(graph, call("pay", _id="a", amount=1), call("pay", _id="b", amount=2))
    for pause_id in list(await run.waiting(graph)):
        await run.answer(graph, looppause.decide(pause_id))
    assert sorted(paid) == [1, 2]
    said = tool_messages(await run.state(graph))
    assert [message.content for message in said] == ["paid 1", "paid 2"]


async def test_return_direct_ends_the_agent(run: Run, looppause: FakeLoopPause) -> None:
    """As without a gate."""

    @tool(return_direct=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    gated = gate_tool(pay, run.client_of(looppause), **USUAL)
    model = ScriptedChat([calling(call("pay", amount=5)), "the model's word"])
    agent = create_agent(model, [gated], checkpointer=InMemorySaver())
    await run.start(agent)
    await approved(run, looppause, agent)
    assert (await run.state(agent)).values["messages"][-1].content == "paid 5"


async def test_a_tool_with_a_question_of_its_own(run: Run, looppause: FakeLoopPause) -> None:
    """Its own interrupt comes after the gate's, and each answer reaches its question."""
    got: list[Any] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        got.append(interrupt({"which account": amount}))
        return f"paid from {got[-1]}"

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    await asked(run, looppause, graph, amount=5)
    [pause_id] = await run.waiting(graph)
    await run.answer(graph, looppause.decide(pause_id))
    [own] = (await run.state(graph)).interrupts
    assert own.value == {"which account": 5}
    await run.run(graph, Command(resume={own.id: "savings"}))
    assert got == ["savings"]
    assert tool_messages(await run.state(graph))[0].content == "paid from savings"


async def test_an_agent_behind_a_gate_that_has_a_gate(run: Run, looppause: FakeLoopPause) -> None:
    """A gated tool runs an agent with a gated tool: two questions, two answers, one payment."""
    till = Till()
    client = run.client_of(looppause)
    inner_model = ScriptedChat([calling(call("pay", amount=5))])
    inner: Any = create_agent(inner_model, [gate_tool(till.tool(), client, **USUAL)])

    def delegate(task: str) -> str:
        """Have somebody do it."""
        return str(inner.invoke({"messages": [("user", task)]})["messages"][-1].content)

    async def adelegate(task: str) -> str:
        return str((await inner.ainvoke({"messages": [("user", task)]}))["messages"][-1].content)

    made = StructuredTool.from_function(delegate, adelegate)
    graph = plain_node([gate_tool(made, client, **USUAL)])
    await run.start(graph, call("delegate", task="pay"))
    for expected in ("delegate", "pay"):
        [pause_id] = await run.waiting(graph)
        assert looppause.pauses[pause_id]["request"]["action"]["type"] == expected
        await run.answer(graph, looppause.decide(pause_id))
    assert till.paid == [("ACME", 5)]
    assert (await run.state(graph)).next == ()


# -- settings ----------------------------------------------------------------------------------


@dataclass
class Callables:
    """Settings that are asked for each call, and count how often."""

    asked: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {
            "recipients": self._of("recipients", [{"channel": "email", "target": "a@b.example"}]),
            "form": self._of("form", {"fields": [{"name": "po", "type": "text"}]}),
            "escalation": self._of("escalation", {"after_hours": 2, "escalate_to": "#boss"}),
            "metadata": self._of("metadata", {"case": 7}),
            "description": lambda call: f"Pay {call.arguments['amount']} EUR",
        }

    def _of(self, name: str, value: Any) -> Any:
        def setting(_: Any) -> Any:
            self.asked.append(name)
            return value

        return setting


async def test_callables_are_asked_once_for_a_question(run: Run, looppause: FakeLoopPause) -> None:
    """Each when the question is put, and not again on resume."""
    till, callables = Till(), Callables()
    settings = {"agent_id": "billing", **callables.settings()}
    graph = plain_node([gate_tool(till.tool(), run.client_of(looppause), **settings)])
    await run.start(graph, call("pay", amount=5))
    [document] = looppause.pauses.values()
    assert document["request"]["recipients"] == [{"channel": "email", "target": "a@b.example"}]
    assert document["request"]["action"]["description"] == "Pay 5 EUR"
    assert document["request"]["escalation"] == {"after_hours": 2, "escalate_to": "#boss"}
    await run.answer(graph, looppause.decide(*looppause.pauses))
    assert till.paid == [("ACME", 5)]
    assert sorted(callables.asked) == ["escalation", "form", "metadata", "recipients"]


@pytest.mark.parametrize("answer", [None, 0, 1, "no", "raise"])
async def test_a_predicate_that_gives_no_plain_answer(
    run: Run, looppause: FakeLoopPause, answer: Any
) -> None:
    """The run fails, nothing is asked, nothing is paid."""

    def when(_: Any) -> Any:
        if answer == "raise":
            raise KeyError("amount")
        return answer

    till = Till()
    graph = plain_node([gate_tool(till.tool(), run.client_of(looppause), **USUAL, when=when)])
    with pytest.raises(KeyError if answer == "raise" else GateError):
        await run.start(graph, call("pay", amount=5))
    assert (till.paid, len(looppause.pauses)) == ([], 0)


async def test_without_a_checkpointer_nothing_is_asked(run: Run, looppause: FakeLoopPause) -> None:
    """The error says what to do."""
    till = Till()
    builder: Any = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode([gate_tool(till.tool(), run.client_of(looppause), **USUAL)]))
    builder.add_edge(START, "tools")
    with pytest.raises(NoCheckpointer, match="checkpointer"):
        await run.start(builder.compile(), call("pay", amount=5))
    assert (till.paid, len(looppause.pauses)) == ([], 0)


async def test_outside_a_graph_nothing_is_asked(looppause: FakeLoopPause, sync_run: Run) -> None:
    """A gated tool that is called by hand raises."""
    till = Till()
    gated = gate_tool(till.tool(), sync_run.client_of(looppause), **USUAL)
    with pytest.raises(NoCheckpointer):
        gated.invoke({"amount": 5})
    with pytest.raises(NoCheckpointer):
        await gate_tool(till.tool(), RUNS["async"].client_of(looppause), **USUAL).ainvoke(
            {"amount": 5}
        )
    assert till.paid == []


FAULTY: dict[str, dict[str, Any]] = {
    "no agent_id": {"agent_id": ""},
    "no recipients": {"recipients": []},
    "unknown setting": {"recipient": []},
    "unknown field": {"fields": ["iban"]},
    "fields is text": {"fields": "amount"},
}


@pytest.mark.parametrize("fault", FAULTY)
def test_settings_that_cannot_be_used(looppause: FakeLoopPause, sync_run: Run, fault: str) -> None:
    """Said when the gate is made."""
    with pytest.raises(LoopPauseConfigError):
        gate_tool(Till().tool(), sync_run.client_of(looppause), **{**USUAL, **FAULTY[fault]})


def test_a_second_gate_is_refused(looppause: FakeLoopPause, sync_run: Run) -> None:
    """One question for one call."""
    client = sync_run.client_of(looppause)
    with pytest.raises(LoopPauseConfigError, match="already"):
        gate_tool(gate_tool(Till().tool(), client, **USUAL), client, **USUAL)


class Converted(BaseModel):
    """Converts what the model gives, and takes something injected."""

    amount: int
    state: Annotated[dict[str, Any], InjectedState]

    @field_validator("amount")
    @classmethod
    def in_cents(cls, amount: int) -> int:
        return amount * 100


async def test_a_schema_that_converts_beside_what_is_injected(
    run: Run, looppause: FakeLoopPause
) -> None:
    """What the person sees is what the tool gets."""
    got: list[int] = []

    @tool(args_schema=Converted)
    def pay(amount: int, state: dict[str, Any]) -> str:
        """Pay."""
        got.append(amount)
        return "paid"

    graph = plain_node([gate_tool(pay, run.client_of(looppause), **USUAL)])
    shown = await asked(run, looppause, graph, amount=5)
    await approved(run, looppause, graph)
    assert got == [shown["amount"]]
