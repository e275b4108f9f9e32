"""ApprovalMiddleware: which tools, whose settings, and how it stands among other middleware."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.prebuilt import InjectedState
from langgraph.types import Command
from pydantic import BaseModel, ValidationError, field_validator

from looppause_sdk import LoopPauseConfigError, LoopPauseUnavailable, NoCheckpointer
from looppause_sdk.langchain import ApprovalMiddleware
from looppause_sdk.testing import FakeLoopPause
from tests.agents import client_of, on
from tests.chat import ScriptedChat, call, calling
from tests.gated import RUNS, USUAL, HearingChat, Run, Till, pauses_by_amount
from tests.gates import async_client_of


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


def agent(guard: Any, tools: list[Any], *script: Any, saver: Any = None, **options: Any) -> Any:
    """An agent with this middleware, and others after it."""
    others = options.pop("others", [])
    saver = InMemorySaver() if saver is None else saver
    model = options.pop("model", None) or ScriptedChat(script)
    return create_agent(model, tools, middleware=[guard, *others], checkpointer=saver, **options)


async def test_only_the_tools_named_have_a_gate(run: Run, looppause: FakeLoopPause) -> None:
    """The other one runs at once, and once, though the gated one beside it hibernates."""
    till, free = Till(), Till()
    guard = ApprovalMiddleware(run.client_of(looppause), {"pay": {}}, **USUAL)
    both = calling(call("pay", _id="a", amount=1), call("tip", _id="b", amount=2))
    graph = agent(guard, [till.tool(), free.tool("tip")], both)
    await run.start(graph)
    assert (till.paid, free.paid) == ([], [("ACME", 2)])
    await run.answer(graph, looppause.decide(*looppause.pauses))
    assert (till.paid, free.paid) == ([("ACME", 1)], [("ACME", 2)])


async def test_a_tool_s_own_settings_win(run: Run, looppause: FakeLoopPause) -> None:
    """Defaults are for all tools, and a tool may say otherwise."""
    email = [{"channel": "email", "target": "cfo@example.com"}]
    tools = {"pay": {"recipients": email, "timeout_hours": 2}, "tip": {}}
    guard = ApprovalMiddleware(run.client_of(looppause), tools, **USUAL)
    both = calling(call("pay", _id="a", amount=1), call("tip", _id="b", amount=2))
    await run.start(agent(guard, [Till().tool(), Till().tool("tip")], both))
    asked = {
        document["request"]["action"]["type"]: document["request"]
        for document in looppause.pauses.values()
    }
    assert asked["pay"]["recipients"] == email
    assert asked["tip"]["recipients"] == USUAL["recipients"]
    assert (asked["pay"]["timeout_hours"], asked["tip"]["timeout_hours"]) == (2, 24)


class Customer(AgentState[Any]):
    boss: str


async def test_callables_get_the_agent_s_state(run: Run, looppause: FakeLoopPause) -> None:
    """Whom to ask may depend on it."""

    def boss(asked: Any) -> Any:
        return [{"channel": "slack", "target": asked.state["boss"]}]

    settings = {"agent_id": "billing", "recipients": boss}
    guard = ApprovalMiddleware(run.client_of(looppause), {"pay": {}}, **settings)
    graph = agent(guard, [Till().tool()], calling(call("pay", amount=1)), state_schema=Customer)
    await run.run(graph, {"messages": ["pay"], "boss": "#anna"})
    [document] = looppause.pauses.values()
    assert document["request"]["recipients"] == [{"channel": "slack", "target": "#anna"}]


async def test_retries_behind_one_approval(run: Run, looppause: FakeLoopPause) -> None:
    """Listed before ToolRetryMiddleware: the tool is tried again, the person is not asked again."""
    tries: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay; the bank is closed twice."""
        tries.append(amount)
        if len(tries) < 3:
            raise ConnectionError("the bank is closed")
        return f"paid {amount}"

    guard = ApprovalMiddleware(run.client_of(looppause), {"pay": {}}, **USUAL)
    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0.001, jitter=False)
    model = HearingChat([calling(call("pay", amount=5))])
    graph = agent(guard, [pay], model=model, others=[retry])
    await run.start(graph)
    [pause_id] = await run.waiting(graph)
    proof = looppause.decide(pause_id)
    with pytest.raises(ValidationError):
        await run.answer(graph, {**proof, "signature": "0" * 64})
    await run.answer(graph, proof)
    assert tries == [5, 5, 5]
    assert model.heard["call-1"].content == "paid 5"
    assert list(looppause.pauses) == [pause_id]


class Converted(BaseModel):
    """Converts what the model gives, and takes something injected."""

    amount: int
    state: Annotated[dict[str, Any], InjectedState]

    @field_validator("amount")
    @classmethod
    def in_cents(cls, amount: int) -> int:
        return amount * 100


async def test_what_is_injected_later_is_no_hindrance(run: Run, looppause: FakeLoopPause) -> None:
    """The middleware sees a call before injection; the person sees what the tool will get."""
    got: list[Any] = []

    @tool(args_schema=Converted)
    def pay(amount: int, state: dict[str, Any]) -> str:
        """Pay."""
        got.append((amount, len(state["messages"])))
        return "paid"

    guard = ApprovalMiddleware(run.client_of(looppause), {"pay": {}}, **USUAL)
    graph = agent(guard, [pay], calling(call("pay", amount=5)))
    await run.start(graph)
    [document] = looppause.pauses.values()
    assert document["request"]["action"]["details"] == {"amount": 500}
    await run.answer(graph, looppause.decide(*looppause.pauses))
    assert got == [(500, 2)]


async def test_a_call_that_cannot_be_made_asks_nobody(run: Run, looppause: FakeLoopPause) -> None:
    """The model is told, corrects itself, and the corrected call is asked about."""
    till = Till()
    guard = ApprovalMiddleware(run.client_of(looppause), {"pay": {}}, **USUAL)
    wrong, right = calling(call("pay", _id="a", amount="x")), calling(call("pay", amount=5))
    graph = agent(guard, [till.tool()], wrong, right)
    await run.start(graph)
    assert list(pauses_by_amount(looppause)) == [5]
    await run.answer(graph, looppause.decide(*looppause.pauses))
    assert till.paid == [("ACME", 5)]


@pytest.mark.parametrize(
    "tools, says",
    [
        ({"pya": {}}, "gates pya, which this agent does not have: it has pay"),
        ({"pay": {"fields": ["amonut"]}}, "pay has no argument amonut to edit"),
    ],
)
async def test_a_misspelt_name_runs_nothing(
    run: Run, looppause: FakeLoopPause, tools: dict[str, Any], says: str
) -> None:
    """Else the tool would be without a gate, or the person's change without effect."""
    guard = ApprovalMiddleware(run.client_of(looppause), tools, **USUAL)
    till = Till()
    graph = agent(guard, [till.tool()], calling(call("pay", amount=5)))
    with pytest.raises(LoopPauseConfigError, match=says):
        await run.start(graph)
    assert (till.paid, looppause.pauses) == ([], {})


@pytest.mark.parametrize("tools", [["pay"], {"pay": True}, {"pay": {}}, "pay"], ids=repr)
async def test_tools_without_settings_of_their_own(looppause: FakeLoopPause, tools: Any) -> None:
    """Named in a list, or as HumanInTheLoopMiddleware has it."""
    till, run = Till(), RUNS["sync"]
    guard = ApprovalMiddleware(run.client_of(looppause), tools, **USUAL)
    await run.start(agent(guard, [till.tool()], calling(call("pay", amount=5))))
    assert (till.paid, len(looppause.pauses)) == ([], 1)


@pytest.mark.parametrize("tools", [{}, [], {"pay": False}, {"pay": "yes"}], ids=repr)
def test_tools_that_cannot_be_read(looppause: FakeLoopPause, tools: Any) -> None:
    """Refused at construction, in the SDK's own words."""
    with pytest.raises(LoopPauseConfigError, match=r"no tools to gate|must be its settings"):
        ApprovalMiddleware(client_of(looppause), tools, **USUAL)


async def test_loop_pause_is_away_on_asking(run: Run, looppause: FakeLoopPause) -> None:
    """The run fails and nothing is paid; running it again asks, once."""
    till = Till()
    guard = ApprovalMiddleware(run.client_of(looppause, max_attempts=1), {"pay": {}}, **USUAL)
    graph = agent(guard, [till.tool()], calling(call("pay", amount=5)))
    looppause.fail_next()
    with pytest.raises(LoopPauseUnavailable):
        await run.start(graph)
    assert (till.paid, len(looppause.pauses)) == ([], 0)
    await run.run(graph, None)
    await run.answer(graph, looppause.decide(*looppause.pauses))
    assert till.paid == [("ACME", 5)]


async def test_without_a_checkpointer_nothing_is_asked(run: Run, looppause: FakeLoopPause) -> None:
    """The error says what to do."""
    till = Till()
    guard = ApprovalMiddleware(run.client_of(looppause), {"pay": {}}, **USUAL)
    model = ScriptedChat([calling(call("pay", amount=5))])
    graph = create_agent(model, [till.tool()], middleware=[guard])
    with pytest.raises(NoCheckpointer, match="checkpointer"):
        await run.start(graph)
    assert (till.paid, len(looppause.pauses)) == ([], 0)


FAULTY: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no tools": ({}, USUAL, "no tools"),
    "no agent_id": ({"pay": {}}, {"recipients": USUAL["recipients"]}, "agent_id"),
    "no recipients": ({"pay": {"recipients": []}}, USUAL, "recipients"),
    "unknown setting": ({"pay": {"whne": None}}, USUAL, "whne"),
    "fields is text": ({"pay": {"fields": "amount"}}, USUAL, "list"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_settings_that_cannot_be_used(looppause: FakeLoopPause, fault: str) -> None:
    """Said when the middleware is made."""
    tools, defaults, said = FAULTY[fault]
    with pytest.raises(LoopPauseConfigError, match=said):
        ApprovalMiddleware(async_client_of(looppause), tools, **defaults)


def test_a_client_of_another_kind_is_refused() -> None:
    """Also LoopPause's own 0.1.0 client."""
    with pytest.raises(LoopPauseConfigError, match="LoopPauseClient"):
        ApprovalMiddleware(object(), {"pay": {}}, **USUAL)  # type: ignore[arg-type]  # on purpose


# -- streaming ---------------------------------------------------------------------------------


@tool
def paying_aloud(amount: int) -> str:
    """Pay, and say so in the stream."""
    get_stream_writer()({"paying": amount})
    return f"paid {amount}"


async def _streamed(run: Run, graph: Any, value: Any, **options: Any) -> list[Any]:
    if run.is_async:
        return [chunk async for chunk in graph.astream(value, on("t"), **options)]
    return await asyncio.to_thread(lambda: list(graph.stream(value, on("t"), **options)))


def _values(bodies: list[Any]) -> list[str]:
    return [said.content for said in bodies[-1]["messages"]]


def _updates(bodies: list[Any]) -> list[str]:
    # LangGraph shows the update of a call that was done in an earlier run again, as cached.
    fresh = [body["tools"] for body in bodies if "tools" in body and "__metadata__" not in body]
    return [said.content for update in fresh for said in update["messages"]]


def _messages(bodies: list[Any]) -> list[str]:
    return [said.content for said, _ in bodies]


def _custom(bodies: list[Any]) -> list[str]:
    return [f"paid {body['paying']}" for body in bodies]


SEEN = {"values": _values, "updates": _updates, "messages": _messages, "custom": _custom}


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("mode", SEEN)
async def test_streams_show_each_tool_message_once(
    run: Run, looppause: FakeLoopPause, mode: Any, subgraphs: bool
) -> None:
    """Two calls, the second answered later; what the tool writes itself is seen too."""
    guard = ApprovalMiddleware(run.client_of(looppause), {"paying_aloud": {}}, **USUAL)
    both = calling(*(call("paying_aloud", _id=f"c{n}", amount=n) for n in (1, 2)))
    graph = agent(guard, [paying_aloud], both)
    options: dict[str, Any] = {"stream_mode": mode, "subgraphs": subgraphs}
    chunks = await _streamed(run, graph, {"messages": ["pay"]}, **options)
    waiting = await run.waiting(graph)
    assert len(waiting) == 2
    if mode in {"values", "updates"}:
        assert all(pause_id in repr(chunks) for pause_id in waiting)
    for pause_id, interrupt_id in waiting.items():
        resume: Command[Any] = Command(resume={interrupt_id: looppause.decide(pause_id)})
        chunks += await _streamed(run, graph, resume, **options)
    assert (await run.state(graph)).next == ()
    inside = mode in {"messages", "custom"}  # written by the tool, wherever it runs
    bodies = [c[-1] for c in chunks if inside or c[0] == ()] if subgraphs else chunks
    seen = SEEN[mode](bodies)
    assert [seen.count(f"paid {n}") for n in (1, 2)] == [1, 1]
