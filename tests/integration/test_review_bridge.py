"""`signed_review`: LangChain's own review middleware, answered by signed proofs only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import is_invalid_resume
from langgraph.types import Command, interrupt
from pydantic import ValidationError

from looppause_sdk import (
    GateError,
    LoopPauseConfigError,
    LoopPauseUnavailable,
    NoCheckpointer,
    NotWaiting,
    current_approval,
)
from looppause_sdk.langchain.review import signed_review
from looppause_sdk.langgraph import aresume_thread, resume_thread
from looppause_sdk.testing import FakeLoopPause, sign_proof
from tests.agents import RECIPIENTS, client_of, hibernating, on
from tests.chat import ScriptedChat, call, calling
from tests.gates import asked, async_client_of, cut_off, requests_since
from tests.integration.conftest import Rig

MODES = pytest.mark.parametrize("mode", ["batched", "per_call"])
ALL = ["approve", "edit", "reject", "respond"]
PAY = call("pay", amount=5)
MAIL = call("mail", "call-2", to="bob@example.com")
ACTION = {"type": "payment", "description": "Pay 1 EUR"}
START: Any = {"messages": [("user", "settle it")]}


@dataclass
class World:
    """What the tools do, and the tools."""

    done: list[Any] = field(default_factory=list)

    def pay(self, amount: int) -> str:
        """Pay an amount."""
        self.done.append(("pay", amount))
        return f"paid {amount}"

    def mail(self, to: str) -> str:
        """Write to somebody."""
        self.done.append(("mail", to))
        return f"wrote to {to}"

    @property
    def tools(self) -> list[BaseTool]:
        return [StructuredTool.from_function(self.pay), StructuredTool.from_function(self.mail)]


@pytest.fixture
def world() -> World:
    return World()


def review(client: Any, mode: str, gated: Any = None, **settings: Any) -> Any:
    stock: Any = {
        name: settings.pop(name)
        for name in ("description_prefix", "edit_notice")
        if name in settings
    }
    gates = gated or {"pay": True, "mail": True}
    middleware = HumanInTheLoopMiddleware(gates, interrupt_mode=mode, **stock)  # type: ignore[arg-type]  # a table's text
    usual = {"agent_id": "billing", "recipients": RECIPIENTS}
    return signed_review(middleware, client, **{**usual, **settings})


def agent(
    world: World, client: Any, mode: str, *calls: Any, saver: Any = None, **settings: Any
) -> Any:
    """An agent whose model makes these calls in one message, and says "done" after them."""
    return create_agent(
        ScriptedChat([calling(*(calls or (PAY,)))]),
        world.tools,
        middleware=[review(client, mode, **settings)],
        checkpointer=saver or InMemorySaver(),
    )


def results(state: Any) -> dict[str, Any]:
    """What the model was told of each call."""
    found = [said for said in state["messages"] if isinstance(said, ToolMessage)]
    return {said.tool_call_id: said for said in found}


def waiting(graph: Any) -> dict[str, str]:
    """The pauses of the thread by the tool they are about."""
    interrupts = graph.get_state(on("t")).interrupts
    return {one.value["action"]["type"]: one.value["pause_id"] for one in interrupts}


# -- asking ------------------------------------------------------------------------------------


@MODES
def test_the_interrupt_says_what_the_stock_one_says_and_names_its_pause_first(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """A page that reads LangChain's questions reads these, and the receiver's index the pause."""
    graph = agent(world, client_of(looppause), mode)
    graph.invoke(START, on("t"))
    plain: Any = create_agent(
        ScriptedChat([calling(PAY)]),
        world.tools,
        middleware=[HumanInTheLoopMiddleware({"pay": True}, interrupt_mode=mode)],  # type: ignore[arg-type]  # a table's text
        checkpointer=InMemorySaver(),
    )
    plain.invoke(START, on("t"))
    [ours], [stock] = graph.get_state(on("t")).interrupts, plain.get_state(on("t")).interrupts
    assert ours.value.items() >= stock.value.items()
    assert list(ours.value)[:5] == ["pause_id", "agent_id", "action", "action_digest", "expires_at"]
    assert list(graph.nodes) == list(plain.nodes)


@MODES
def test_a_person_is_shown_the_call(looppause: FakeLoopPause, world: World, mode: str) -> None:
    """The pause has the tool, the stock description and the arguments, and the settings given."""
    settings = {"description_prefix": "Please look", "form": {"fields": []}, "timeout_hours": 2}
    graph = agent(world, client_of(looppause), mode, **settings)
    graph.invoke(START, on("t"))
    request = looppause.document(*asked(graph))["request"]
    assert request["action"] == {
        "type": "pay",
        "description": "Please look\n\nTool: pay\nArgs: {'amount': 5}",
        "details": {"amount": 5},
    }
    assert (request["agent_id"], request["timeout_hours"]) == ("billing", 2)
    assert (request["recipients"], request["form"]) == (RECIPIENTS, {"fields": []})


@MODES
def test_settings_may_depend_on_the_call(looppause: FakeLoopPause, world: World, mode: str) -> None:
    """Callables get the calls with the agent's state, once, when the question is put."""
    seen = []

    def whom(calls: Any) -> Any:
        seen.append([(one.tool, one.arguments, len(one.state["messages"])) for one in calls])
        return [{"channel": "slack", "target": f"#{calls[0].tool}"}]

    graph = agent(world, client_of(looppause), mode, recipients=whom)
    graph.invoke(START, on("t"))
    resume_thread(graph, "t", looppause.decide(*asked(graph)))
    [document] = looppause.documents()
    assert document["request"]["recipients"] == [{"channel": "slack", "target": "#pay"}]
    assert seen == [[("pay", {"amount": 5}, 2)]]


@MODES
def test_when_and_descriptions_of_the_agent_keep_working(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """A small call runs unasked; a description that tells the time does not spoil the answer."""
    clock = iter(range(100))
    gated = {
        "pay": {
            "allowed_decisions": ["approve", "reject"],
            "when": lambda request: request.tool_call["args"]["amount"] > 3,
            "description": lambda *_: f"at {next(clock)}",
        }
    }
    small = agent(world, client_of(looppause), mode, call("pay", amount=2), gated=gated)
    small.invoke(START, on("t"))
    assert (world.done, looppause.documents()) == ([("pay", 2)], [])
    graph = agent(world, client_of(looppause), mode, gated=gated)
    graph.invoke(START, on("t"))
    resume_thread(graph, "t", looppause.decide(*asked(graph)))
    assert world.done == [("pay", 2), ("pay", 5)]


@MODES
def test_asking_in_vain_runs_nothing_and_can_be_repeated(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """An outage raises; the same thread asks and pays once LoopPause is back."""
    looppause.fail_next(times=3)
    graph = agent(world, client_of(looppause, max_attempts=3), mode)
    with pytest.raises(LoopPauseUnavailable):
        graph.invoke(START, on("t"))
    assert (world.done, looppause.documents()) == ([], [])
    graph.invoke(None, on("t"))
    resume_thread(graph, "t", looppause.decide(*asked(graph)))
    assert world.done == [("pay", 5)]


@MODES
def test_an_agent_that_cannot_hibernate_does_not_ask(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """Without a checkpointer no orphan pause is left."""
    graph: Any = create_agent(
        ScriptedChat([calling(PAY)]),
        world.tools,
        middleware=[review(client_of(looppause), mode)],
    )
    with pytest.raises(NoCheckpointer):
        graph.invoke(START)
    assert (world.done, looppause.documents()) == ([], [])


@MODES
def test_an_async_client_says_that_it_needs_ainvoke(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """Under `invoke` nothing is asked and nothing runs."""
    graph = agent(world, async_client_of(looppause), mode)
    with pytest.raises(GateError, match="ainvoke"):
        graph.invoke(START, on("t"))
    assert (world.done, looppause.documents()) == ([], [])


# -- answers -----------------------------------------------------------------------------------


@MODES
def test_approved_it_runs_without_a_network(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """One pause, one payment; with the proof in hand LoopPause may be down."""
    graph = agent(world, client_of(looppause), mode)
    graph.invoke(START, on("t"))
    proof = looppause.decide(*asked(graph))
    cut_off(looppause)
    state = resume_thread(graph, "t", proof)
    assert results(state)["call-1"].content == "paid 5"
    assert (world.done, requests_since(looppause), len(looppause.pauses)) == ([("pay", 5)], 0, 1)
    with pytest.raises(NotWaiting):
        resume_thread(graph, "t", proof)


def test_each_turn_asks_anew(looppause: FakeLoopPause, world: World) -> None:
    """The same call in the next message is another pause; the first approval does not open it."""
    graph: Any = create_agent(
        ScriptedChat([calling(PAY), calling(PAY)]),
        world.tools,
        middleware=[review(client_of(looppause), "batched")],
        checkpointer=InMemorySaver(),
    )
    graph.invoke(START, on("t"))
    first = looppause.decide(*asked(graph))
    resume_thread(graph, "t", first)
    [second] = asked(graph)
    assert second != first["pause_id"]
    with pytest.raises(NotWaiting):
        resume_thread(graph, "t", first)
    assert world.done == [("pay", 5)]


@MODES
def test_allowed_fields_edit_the_call_and_no_others(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """The tool runs with the person's amount, and the model is told by the stock notice."""
    graph = agent(
        world, client_of(looppause), mode, fields={"pay": ["amount"]}, edit_notice="EDITED."
    )
    graph.invoke(START, on("t"))
    proof = looppause.decide(*asked(graph), fields={"amount": 3, "currency": "USD", "note": None})
    state = resume_thread(graph, "t", proof)
    assert world.done == [("pay", 3)]
    told = str(results(state)["call-1"].content)
    assert told.startswith('EDITED. Executed instead: pay with arguments {"amount": 3}.')
    assert told.endswith("paid 3")


@MODES
@pytest.mark.parametrize("fields", [{"amount": 5}, {"amount": None}, {}, None])
def test_a_form_that_changes_nothing_is_a_plain_approval(
    looppause: FakeLoopPause, world: World, mode: str, fields: Any
) -> None:
    """The model is not told of an edit that was none."""
    graph = agent(world, client_of(looppause), mode, fields={"pay": ["amount"]})
    graph.invoke(START, on("t"))
    state = resume_thread(graph, "t", looppause.decide(*asked(graph), fields=fields))
    assert results(state)["call-1"].content == "paid 5"


def test_an_edit_that_does_not_fit_the_tool_is_a_rejection(
    looppause: FakeLoopPause, world: World
) -> None:
    """The answer is final, so the thread does not wait for a better one: the model is told why."""
    graph = agent(world, client_of(looppause), "per_call", fields={"pay": ["amount"]})
    graph.invoke(START, on("t"))
    state = resume_thread(graph, "t", looppause.decide(*asked(graph), fields={"amount": "much"}))
    told = results(state)["call-1"]
    assert (told.status, world.done) == ("error", [])
    assert (
        "the reviewer's edit does not fit pay (amount: Input should be a valid int" in told.content
    )


@MODES
def test_a_reply_stands_in_for_the_tool(looppause: FakeLoopPause, world: World, mode: str) -> None:
    """The model gets the person's text as the result, and the tool does not run."""
    graph = agent(world, client_of(looppause), mode, reply_field="reply")
    graph.invoke(START, on("t"))
    proof = looppause.decide(*asked(graph), fields={"reply": "I paid it by hand"})
    told = results(resume_thread(graph, "t", proof))["call-1"]
    assert (told.content, told.status, world.done) == ("I paid it by hand", "success", [])


@MODES
def test_where_only_a_reply_is_allowed_a_bare_approval_runs_nothing(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """A tool that asks the user has nothing to run."""
    gated = {"pay": {"allowed_decisions": ["respond", "reject"]}}
    graph = agent(world, client_of(looppause), mode, gated=gated, reply_field="reply")
    graph.invoke(START, on("t"))
    proof = looppause.decide(*asked(graph), fields={"reply": "  "})
    told = results(resume_thread(graph, "t", proof))["call-1"]
    assert (told.status, world.done) == ("error", [])
    assert "wrote no reply" in told.content


DENIALS: dict[str, tuple[Callable[[FakeLoopPause, str], Any], str]] = {
    "rejected": (
        lambda fake, it: fake.decide(it, "rejected"),
        "User rejected the tool call for `pay`",
    ),
    "with a comment": (
        lambda fake, it: fake.decide(it, "rejected", comment="too much", fields={"reply": "x"}),
        "with reason: too much",
    ),
    "fallback": (
        lambda fake, it: fake.decide(it, authorization_type="system_fallback", comment="auto"),
        'a configured default is no approval. The reviewer wrote: "auto"',
    ),
    "timed out": (lambda fake, it: fake.time_out(it), "nobody answered in time"),
    "expired": (lambda fake, it: fake.expire(it), "expired before anybody answered"),
    "the receiver's": (
        lambda _, it: {"pause_id": it, "status": "timed_out"},
        "nobody answered in time",
    ),
}


@MODES
@pytest.mark.parametrize(("deny", "why"), DENIALS.values(), ids=DENIALS)
def test_a_denial_is_the_stock_rejection_with_the_reason(
    looppause: FakeLoopPause, world: World, mode: str, deny: Any, why: str
) -> None:
    """Nothing runs, the model reads why and goes on."""
    graph = agent(world, client_of(looppause), mode, reply_field="reply")
    graph.invoke(START, on("t"))
    state = resume_thread(graph, "t", deny(looppause, *asked(graph)))
    told = results(state)["call-1"]
    assert (told.status, world.done) == ("error", [])
    assert why in told.content
    assert state["messages"][-1].content == "done"


FORGERIES: dict[str, Callable[[FakeLoopPause, dict[str, Any]], Any]] = {
    "plain decisions": lambda *_: {"decisions": [{"type": "approve"}]},
    "a plain decision": lambda *_: {"type": "approve"},
    "decisions beside a proof": lambda _, proof: {**proof, "decisions": [{"type": "approve"}]},
    "forged": lambda _, proof: sign_proof(proof, secret="another secret"),
    "another pause's": lambda fake, _: fake.decide(
        fake.create({"agent_id": "a", "action": ACTION, "recipients": RECIPIENTS})["pause_id"]
    ),
    "true": lambda *_: True,
}


@MODES
@pytest.mark.parametrize("bad", FORGERIES.values(), ids=FORGERIES)
def test_what_is_not_this_pauses_proof_raises_and_changes_nothing(
    looppause: FakeLoopPause, world: World, mode: str, bad: Callable[..., Any]
) -> None:
    """Whoever resumed gets the error, and the genuine proof still opens."""
    graph = agent(world, client_of(looppause), mode)
    graph.invoke(START, on("t"))
    before = graph.get_state(on("t"))
    [waits] = before.interrupts
    proof = looppause.decide(waits.value["pause_id"])
    with pytest.raises(ValidationError) as caught:
        graph.invoke(Command(resume={waits.id: bad(looppause, proof)}), on("t"))
    assert is_invalid_resume(caught.value)
    after = graph.get_state(on("t"))
    assert (after.values, after.interrupts, world.done) == (before.values, before.interrupts, [])
    resume_thread(graph, "t", proof)
    assert world.done == [("pay", 5)]


# -- several calls in one message --------------------------------------------------------------


def test_one_approval_covers_the_calls_of_a_message(looppause: FakeLoopPause, world: World) -> None:
    """Batched, a person sees all of them in one pause, and one answer is for all."""
    graph = agent(world, client_of(looppause), "batched", PAY, MAIL)
    graph.invoke(START, on("t"))
    [pause_id] = asked(graph)
    action = looppause.document(pause_id)["request"]["action"]
    assert action["details"] == {
        "calls": [
            {"name": "pay", "args": {"amount": 5}},
            {"name": "mail", "args": {"to": "bob@example.com"}},
        ]
    }
    assert action["description"].startswith("1. Tool execution requires approval\n\nTool: pay")
    state = resume_thread(graph, "t", looppause.decide(pause_id))
    assert sorted(world.done) == [("mail", "bob@example.com"), ("pay", 5)]
    assert set(results(state)) == {"call-1", "call-2"}


def test_one_rejection_covers_them_too_but_not_what_needs_no_person(
    looppause: FakeLoopPause, world: World
) -> None:
    """The calls that were asked about are rejected; the third runs as the stock one would."""
    gated = {"pay": True}
    again = call("pay", "call-3", amount=7)
    graph = agent(world, client_of(looppause), "batched", PAY, MAIL, again, gated=gated)
    graph.invoke(START, on("t"))
    told = results(
        resume_thread(graph, "t", looppause.decide(asked(graph)[0], "rejected", comment="no"))
    )
    assert [told[name].status for name in ("call-1", "call-2", "call-3")] == [
        "error",
        "success",
        "error",
    ]
    assert world.done == [("mail", "bob@example.com")]


def test_an_edit_finds_the_one_call_it_can_mean(looppause: FakeLoopPause, world: World) -> None:
    """Batched with two tools, the amount is the payment's."""
    graph = agent(world, client_of(looppause), "batched", PAY, MAIL, fields={"pay": ["amount"]})
    graph.invoke(START, on("t"))
    resume_thread(graph, "t", looppause.decide(*asked(graph), fields={"amount": 3}))
    assert sorted(world.done) == [("mail", "bob@example.com"), ("pay", 3)]


@pytest.mark.parametrize("answers", [{"amount": 3}, {"reply": "done by hand"}])
def test_an_answer_that_several_calls_could_take_runs_none(
    looppause: FakeLoopPause, world: World, answers: Any
) -> None:
    """Which payment the person meant is not guessed at."""
    again = call("pay", "call-2", amount=7)
    settings: Any = {"fields": {"pay": ["amount"]}, "reply_field": "reply"}
    graph = agent(world, client_of(looppause), "batched", PAY, again, **settings)
    graph.invoke(START, on("t"))
    told = results(resume_thread(graph, "t", looppause.decide(*asked(graph), fields=answers)))
    assert {(said.status, "not clear which" in said.content) for said in told.values()} == {
        ("error", True)
    }
    assert world.done == []


@MODES
def test_a_reply_that_no_call_can_take_runs_none(
    looppause: FakeLoopPause, world: World, mode: str
) -> None:
    """Whoever wrote a reply did not mean the tool to run."""
    gated = {"pay": {"allowed_decisions": ["approve", "reject"]}, "mail": True}
    graph = agent(world, client_of(looppause), mode, gated=gated, reply_field="reply")
    graph.invoke(START, on("t"))
    proof = looppause.decide(*asked(graph), fields={"reply": "done by hand"})
    told = results(resume_thread(graph, "t", proof))["call-1"]
    assert (told.status, world.done) == ("error", [])


@pytest.mark.parametrize("order", [("pay", "mail"), ("mail", "pay")])
def test_per_call_each_call_has_its_own_answer_in_any_order(
    looppause: FakeLoopPause, world: World, order: tuple[str, str]
) -> None:
    """The payment is approved and the letter rejected, whichever comes first."""
    graph = agent(world, client_of(looppause), "per_call", PAY, MAIL)
    graph.invoke(START, on("t"))
    pauses = waiting(graph)
    verdicts = {"pay": "approved", "mail": "rejected"}
    for tool in order:
        state = resume_thread(graph, "t", looppause.decide(pauses[tool], verdicts[tool]))
    told = results(state)
    assert [told[name].status for name in ("call-1", "call-2")] == ["success", "error"]
    assert (world.done, len(looppause.pauses)) == ([("pay", 5)], 2)


def test_per_call_the_tool_knows_the_approval_it_runs_with(looppause: FakeLoopPause) -> None:
    """Its pause id is the payment provider's idempotency key."""
    keys = []

    def pay(amount: int) -> str:
        """Pay an amount."""
        keys.append(current_approval()["pause_id"])
        return f"paid {amount}"

    graph: Any = create_agent(
        ScriptedChat([calling(PAY)]),
        [pay],
        middleware=[review(client_of(looppause), "per_call", {"pay": True})],
        checkpointer=InMemorySaver(),
    )
    graph.invoke(START, on("t"))
    resume_thread(graph, "t", looppause.decide(*asked(graph)))
    assert keys == list(looppause.pauses)


def test_per_call_one_calls_proof_does_not_answer_the_other(
    looppause: FakeLoopPause, world: World
) -> None:
    """Two equal calls are two pauses, and each proof is good for its own."""
    again = call("pay", "call-2", amount=5)
    graph = agent(world, client_of(looppause), "per_call", PAY, again)
    graph.invoke(START, on("t"))
    first, second = graph.get_state(on("t")).interrupts
    proof = looppause.decide(first.value["pause_id"])
    with pytest.raises(ValidationError, match="but"):
        graph.invoke(Command(resume={second.id: proof}), on("t"))
    assert world.done == []
    resume_thread(graph, "t", proof)
    assert world.done == [("pay", 5)]


# -- what may move while a thread hibernates ----------------------------------------------------


def test_calls_that_are_no_longer_those_that_were_shown_are_rejected(
    looppause: FakeLoopPause, world: World
) -> None:
    """An agent deployed anew asks about more calls: the approval of one opens neither."""
    saver = InMemorySaver()
    asks = {"saver": saver, "gated": {"pay": True}}
    agent(world, client_of(looppause), "batched", PAY, MAIL, **asks).invoke(START, on("t"))
    later = agent(world, client_of(looppause), "batched", PAY, MAIL, saver=saver)
    told = results(resume_thread(later, "t", looppause.decide(*asked(later))))
    assert {said.status for said in told.values()} == {"error"}
    assert "no longer the one that was approved" in told["call-1"].content
    assert world.done == []


@MODES
@pytest.mark.parametrize("flips", [1, 2], ids=["before the answer is taken", "after"])
def test_a_predicate_that_changes_its_mind_runs_nothing(
    looppause: FakeLoopPause, world: World, mode: str, flips: int
) -> None:
    """Stock LangChain would run the call that was rejected."""
    says = iter([True] * flips + [False] * 10)
    gated = {"pay": {"allowed_decisions": ["approve", "reject"], "when": lambda _: next(says)}}
    graph = agent(world, client_of(looppause), mode, gated=gated)
    graph.invoke(START, on("t"))
    with pytest.raises(GateError, match="`when` must give the same answer"):
        resume_thread(graph, "t", looppause.decide(asked(graph)[0], "rejected"))
    assert world.done == []


def test_a_predicate_that_changes_its_mind_about_one_call_runs_neither(
    looppause: FakeLoopPause, world: World
) -> None:
    """The decisions would be for other calls than those that were shown."""
    says = iter([True, True, False])
    gated = {
        "pay": True,
        "mail": {"allowed_decisions": ["approve", "reject"], "when": lambda _: next(says)},
    }
    graph = agent(world, client_of(looppause), "batched", PAY, MAIL, gated=gated)
    graph.invoke(START, on("t"))
    with pytest.raises(GateError, match="`when` must give the same answer"):
        resume_thread(graph, "t", looppause.decide(*asked(graph)))
    assert world.done == []


def test_a_subagent_inside_an_ungated_tool_hibernates_and_resumes(
    looppause: FakeLoopPause, world: World
) -> None:
    """The answer to the inner agent's question is none to the outer agent's."""
    inner: Any = create_agent(
        ScriptedChat([calling(PAY)]),
        world.tools,
        middleware=[review(client_of(looppause), "per_call")],
    )

    def delegate(task: str) -> str:
        """Hand over a task."""
        return str(inner.invoke({"messages": [("user", task)]})["messages"][-1].content)

    gated: Any = {"delegate": {"allowed_decisions": ["approve", "reject"], "when": lambda _: False}}
    outer: Any = create_agent(
        ScriptedChat([calling(call("delegate", task="pay"))]),
        [StructuredTool.from_function(delegate)],
        middleware=[review(client_of(looppause), "per_call", gated)],
        checkpointer=InMemorySaver(),
    )
    outer.invoke(START, on("t"))
    resume_thread(outer, "t", looppause.decide(*asked(outer)))
    assert world.done == [("pay", 5)]


# -- construction ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no reject": (
        {"pay": {"allowed_decisions": ["approve", "edit"]}},
        {},
        "add 'reject' .* of pay",
    ),
    "no approve": ({"pay": {"allowed_decisions": ["reject"]}}, {}, "add 'approve' .* of pay"),
    "respond without a field": (
        {"pay": {"allowed_decisions": ["reject", "respond"]}},
        {},
        "give reply_field",
    ),
    "fields without edit": (
        {"pay": {"allowed_decisions": ["approve", "reject"]}},
        {"fields": {"pay": ["amount"]}},
        "'approve' and 'edit'",
    ),
    "fields of no gated tool": ({"pay": True}, {"fields": {"pray": ["x"]}}, "names pray"),
    "fields for no tool": ({"pay": True}, {"fields": ["amount"]}, "a dict by tool"),
    "fields as text": ({"pay": True}, {"fields": {"pay": "amount"}}, "list of names"),
    "a reply nobody takes": (
        {"pay": {"allowed_decisions": ["approve", "reject"]}},
        {"reply_field": "reply"},
        "reply_field is given: add 'respond'",
    ),
    "a reply that is a field": (
        {"pay": True},
        {"fields": {"pay": ["x"]}, "reply_field": "x"},
        "among the fields",
    ),
}


@MODES
@pytest.mark.parametrize(("gated", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_hold_are_refused_at_once(
    looppause: FakeLoopPause, mode: str, gated: Any, settings: Any, message: str
) -> None:
    """The error names the tool and says what to do."""
    with pytest.raises(LoopPauseConfigError, match=message):
        review(client_of(looppause), mode, gated, **settings)


class Overriding(HumanInTheLoopMiddleware[Any, Any, Any]):
    def after_model(self, state: Any, runtime: Any) -> Any:
        return super().after_model(state, runtime)


class Asking(HumanInTheLoopMiddleware[Any, Any, Any]):
    def after_model(self, state: Any, runtime: Any) -> Any:
        interrupt("may I?")
        return super().after_model(state, runtime)


class Named(HumanInTheLoopMiddleware[Any, Any, Any]):
    def before_model(self, state: Any, runtime: Any) -> Any:
        return super().before_model(state, runtime)


def test_a_middleware_whose_way_of_asking_is_unknown_is_refused(looppause: FakeLoopPause) -> None:
    """Its questions would go past LoopPause: overridden, under review already, or no such thing."""
    client: Any = client_of(looppause)
    usual: Any = {"agent_id": "a", "recipients": RECIPIENTS}
    twice = signed_review(HumanInTheLoopMiddleware({"pay": True}), client, **usual)
    for other in (Overriding({"pay": True}), Asking({"pay": True}), twice):
        with pytest.raises(LoopPauseConfigError, match="does not ask as LangChain's"):
            signed_review(other, client, **usual)
    wrong: Any = object()
    with pytest.raises(LoopPauseConfigError, match="takes a HumanInTheLoopMiddleware"):
        signed_review(wrong, client, **usual)
    with pytest.raises(LoopPauseConfigError, match="LoopPauseClient"):
        signed_review(HumanInTheLoopMiddleware({"pay": True}), wrong, **usual)


def test_everything_else_of_the_middleware_stays(looppause: FakeLoopPause) -> None:
    """Name, type, state and other hooks are the stock's, and the stock itself is untouched."""
    stock = Named({"pay": True}, edit_notice=None)
    before = dict(vars(stock))
    ours = signed_review(stock, client_of(looppause), agent_id="a", recipients=RECIPIENTS)
    assert isinstance(ours, Named)
    assert (ours.name, ours.state_schema, ours.edit_notice) == ("Named", stock.state_schema, None)
    assert type(ours).before_model is Named.before_model
    assert (vars(stock), type(stock).after_model) == (before, HumanInTheLoopMiddleware.after_model)


# -- async, and the receiver -------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("client_for", [client_of, async_client_of], ids=["sync", "async"])
async def test_the_async_agent_does_the_same(
    looppause: FakeLoopPause, world: World, mode: str, client_for: Any
) -> None:
    """Refused, edited and rejected under `ainvoke` and `astream`, with either client."""
    graph = agent(world, client_for(looppause), mode, fields={"pay": ["amount"]})
    seen = [part async for part in graph.astream(START, on("t"), stream_mode="updates")]
    [waits] = seen[-1]["__interrupt__"]
    with pytest.raises(ValidationError):
        await graph.ainvoke(Command(resume={waits.id: {"decisions": []}}), on("t"))
    proof = looppause.decide(waits.value["pause_id"], fields={"amount": 3})
    cut_off(looppause)
    await aresume_thread(graph, "t", proof)
    assert (world.done, requests_since(looppause)) == ([("pay", 3)], 0)


async def hibernate(rig: Rig, graph: Any) -> list[Any]:
    """Run the thread to its questions in a process of its own; return the interrupts."""
    async with hibernating(graph, rig.url) as attached:
        await attached.ainvoke(START, on("t"))
        return list((await attached.aget_state(on("t"))).interrupts)


def remote(rig: Rig, world: World, mode: str, *calls: Any, **settings: Any) -> Any:
    """The agent without a checkpointer, as it is registered."""
    graph = agent(world, rig.client(), mode, *calls, **settings)
    graph.checkpointer = None
    return graph


@MODES
async def test_the_receiver_resumes_a_reviewed_thread_once(
    rig: Rig, world: World, mode: str
) -> None:
    """Posted three times, an edit runs one payment; a forged proof before it changes nothing."""
    graph = remote(rig, world, mode, fields={"pay": ["amount"]})
    receiver = await rig.receiver({"billing": graph})
    [waits] = await hibernate(rig, graph)
    pause_id = waits.value["pause_id"]
    proof = rig.looppause.decide(pause_id, fields={"amount": 3})
    assert (await rig.deliver(receiver, sign_proof(proof, secret="forged"))).status_code == 401
    assert [(await rig.deliver(receiver, proof)).status_code for _ in range(3)] == [202, 200, 200]
    await rig.until_state(pause_id, "resumed")
    state = await rig.state(graph, "t")
    assert (state.next, world.done) == ((), [("pay", 3)])
    assert results(state.values)["call-1"].content.endswith("paid 3")


@pytest.mark.parametrize("order", [("pay", "mail"), ("mail", "pay")])
async def test_the_receiver_answers_the_calls_of_a_message_in_any_order(
    rig: Rig, world: World, order: tuple[str, str]
) -> None:
    """Per call, an approval and a rejection find their calls."""
    graph = remote(rig, world, "per_call", PAY, MAIL)
    receiver = await rig.receiver({"billing": graph})
    pauses = {one.value["name"]: one.value["pause_id"] for one in await hibernate(rig, graph)}
    verdicts = {"pay": ("approved", None), "mail": ("rejected", "not to Bob")}
    for tool in order:
        decision, comment = verdicts[tool]
        proof = rig.looppause.decide(pauses[tool], decision, comment=comment)
        assert (await rig.deliver(receiver, proof)).status_code == 202
        await rig.until_state(pauses[tool], "resumed")
    state = await rig.state(graph, "t")
    told = results(state.values)
    assert (state.next, world.done) == ((), [("pay", 5)])
    assert (
        told["call-2"].content == "User rejected the tool call for `mail` with reason: not to Bob"
    )
