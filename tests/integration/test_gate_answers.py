"""What an answered interrupt gate does: refuse and stay paused, deny, or approve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.errors import is_invalid_resume
from langgraph.types import Command
from pydantic import ValidationError

from looppause_sdk.testing import FakeLoopPause, sign_proof
from tests.agents import action_of, client_of, on
from tests.gates import Payments, agent, answer, asked, async_client_of

ANSWERS: dict[str, Callable[[FakeLoopPause, dict[str, Any]], Any]] = {
    "forged": lambda _, proof: sign_proof(proof, secret="not the secret"),
    "tampered": lambda _, proof: {**proof, "responder": "mallory@example.com"},
    "unsigned": lambda _, proof: {**proof, "signature": ""},
    "another pause's": lambda fake, _: _of_another_pause(fake),
    "another pause's denial": lambda *_: {"pause_id": "p", "status": "timed_out"},
    "denial that says more": lambda _, proof: {
        "pause_id": proof["pause_id"],
        "status": "timed_out",
        "decision": "approved",
    },
    "signed nonsense": lambda fake, proof: fake.sign({**proof, "decision": "sure"}),
    "another scheme": lambda _, proof: {**proof, "canonical_payload": "{}"},
    "true": lambda *_: True,
    "none": lambda *_: None,
    "word": lambda *_: "approved",
    "list": lambda _, proof: [proof],
    "empty": lambda *_: {},
}


def _of_another_pause(fake: FakeLoopPause) -> Any:
    action = {"type": "payment", "description": "Pay 1 EUR"}
    recipients = [{"channel": "email", "target": "a@b.example"}]
    other = fake.create({"agent_id": "procurement", "action": action, "recipients": recipients})
    return fake.decide(other["pause_id"])


@pytest.fixture
def saver(database_url: str) -> Iterator[PostgresSaver]:
    """A real checkpointer: what counts here is what is stored."""
    with PostgresSaver.from_conn_string(database_url) as saver:
        yield saver


# -- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ANSWERS.values(), ids=ANSWERS)
def test_a_bad_answer_raises_and_the_genuine_one_still_opens(
    looppause: FakeLoopPause, saver: PostgresSaver, bad: Callable[..., Any]
) -> None:
    """Whoever resumed gets the error; the thread waits as before, in another process too."""
    payments = Payments()
    graph = agent(looppause, saver, pay=payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    before = graph.get_state(on("t"))
    proof = looppause.decide(*asked(graph))
    for _ in range(2):
        with pytest.raises(ValidationError) as caught:
            answer(graph, bad(looppause, proof))
        assert is_invalid_resume(caught.value)
    after = graph.get_state(on("t"))
    assert (after.interrupts, after.values, after.config) == (
        before.interrupts,
        before.values,
        before.config,
    )
    assert not payments.made
    assert answer(agent(looppause, saver, pay=payments.pay), proof)["done"] == ["paid"]


@pytest.mark.parametrize("bad", ANSWERS.values(), ids=ANSWERS)
async def test_the_async_gate_refuses_the_same(
    looppause: FakeLoopPause, bad: Callable[..., Any]
) -> None:
    """The coroutine node raises and stays paused, as the sync one does."""
    graph = agent(looppause, InMemorySaver(), client=async_client_of(looppause))
    await graph.ainvoke({"amount": 5}, on("t"))
    [waiting] = (await graph.aget_state(on("t"))).interrupts
    proof = looppause.decide(waiting.value["pause_id"])
    with pytest.raises(ValidationError):
        await graph.ainvoke(Command(resume={waiting.id: bad(looppause, proof)}), on("t"))
    state = await graph.ainvoke(Command(resume={waiting.id: proof}), on("t"))
    assert state["done"] == ["paid"]


def test_a_refusal_says_why_and_repeats_nothing_of_the_answer(
    looppause: FakeLoopPause, saver: PostgresSaver
) -> None:
    """Neither the error nor what LangGraph stores of it shows the message that came in."""
    graph = agent(looppause, saver)
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph), comment="between us")
    with pytest.raises(ValidationError) as caught:
        answer(graph, {**proof, "responder": "mallory@example.com"})
    [task] = graph.get_state(on("t")).tasks
    for text in (str(caught.value), repr(caught.value.errors()), str(task.error)):
        assert "no configured key has signed this" in text
        for hidden in ("between us", "mallory", proof["signature"], looppause.secret):
            assert hidden not in text


def test_the_wrong_keys_refuse_and_the_right_ones_still_open(
    looppause: FakeLoopPause, saver: PostgresSaver
) -> None:
    """A process that was given another secret cannot spoil the thread."""
    graph = agent(looppause, saver)
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph))
    stranger = client_of(FakeLoopPause())
    with pytest.raises(ValidationError, match="no configured key"):
        answer(agent(looppause, saver, client=stranger), proof)
    assert answer(graph, proof)["done"] == ["paid"]


@pytest.mark.parametrize("bad", ANSWERS.values(), ids=ANSWERS)
def test_on_request_a_bad_answer_ends_the_gate(
    looppause: FakeLoopPause, bad: Callable[..., Any]
) -> None:
    """`on_invalid="halt"` closes as looppause 0.1.0 does, and still opens nothing."""
    graph = agent(looppause, InMemorySaver(), on_invalid="halt")
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph))
    state = answer(graph, bad(looppause, proof))
    assert state["done"] == []
    assert (state["looppause"]["approved"], state["looppause"]["halt_reason"]) == (
        False,
        "invalid_proof",
    )


# -- genuine -----------------------------------------------------------------------------------


@pytest.mark.parametrize("on_invalid", ["raise", "halt"])
def test_an_approval_opens(looppause: FakeLoopPause, on_invalid: str) -> None:
    """A genuine one, in either mode, with all that was said."""
    graph = agent(looppause, InMemorySaver(), on_invalid=on_invalid)
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph), comment="für Müller", fields={"po": 7}, channel="slack")
    state = answer(graph, proof)
    result = state["looppause"]
    assert (state["done"], result["approved"], result["halt_reason"]) == (["paid"], True, None)
    assert (result["responder"], result["comment"], result["channel"], result["fields"]) == (
        "alice@example.com",
        "für Müller",
        "slack",
        {"po": 7},
    )
    assert result["responded_at"] == proof["responded_at"]


DENIALS: dict[str, tuple[Callable[[FakeLoopPause, str], Any], str]] = {
    "rejected": (lambda fake, pause: fake.decide(pause, "rejected", comment="no"), "rejected"),
    "expired notice": (lambda fake, pause: fake.expire(pause), "expired"),
    "timed out notice": (lambda fake, pause: fake.time_out(pause), "timed_out"),
    "unsigned expired": (lambda _, pause: {"pause_id": pause, "status": "expired"}, "expired"),
    "unsigned timed out": (
        lambda _, pause: {"pause_id": pause, "status": "timed_out"},
        "timed_out",
    ),
    "unsigned cancelled": (
        lambda _, pause: {"pause_id": pause, "status": "cancelled"},
        "cancelled",
    ),
}


@pytest.mark.parametrize("require_human", [True, False])
@pytest.mark.parametrize(("denial", "reason"), DENIALS.values(), ids=DENIALS)
def test_a_denial_is_a_result(
    looppause: FakeLoopPause,
    denial: Callable[[FakeLoopPause, str], Any],
    reason: str,
    require_human: bool,
) -> None:
    """It closes the gate with its reason; no setting makes it open."""
    graph = agent(looppause, InMemorySaver(), require_human=require_human)
    graph.invoke({"amount": 5}, on("t"))
    [pause_id] = asked(graph)
    state = answer(graph, denial(looppause, pause_id))
    assert (state["done"], state["looppause"]["approved"]) == ([], False)
    assert (state["looppause"]["halt_reason"], state["looppause"]["decision"]) == (reason, reason)


@pytest.mark.parametrize(
    ("require_human", "done", "reason"), [(True, [], "system_fallback"), (False, ["paid"], None)]
)
def test_a_fallback_opens_only_where_no_human_is_required(
    looppause: FakeLoopPause, require_human: bool, done: list[str], reason: str | None
) -> None:
    """A configured default is no sign-off, unless the gate asks for none."""
    graph = agent(looppause, InMemorySaver(), require_human=require_human)
    graph.invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*asked(graph), authorization_type="system_fallback")
    state = answer(graph, proof)
    assert (state["done"], state["looppause"]["halt_reason"]) == (done, reason)


def test_an_action_that_changed_since_is_not_what_was_approved(looppause: FakeLoopPause) -> None:
    """A price list edited while the thread waits: five were shown, a million would be paid."""
    prices = {"total": 5}
    graph = agent(
        looppause,
        InMemorySaver(),
        action_builder=lambda _: action_of({"amount": prices["total"]}),
    )
    graph.invoke({"amount": 0}, on("t"))
    proof = looppause.decide(*asked(graph))
    prices["total"] = 1_000_000
    state = answer(graph, proof)
    assert (state["done"], state["looppause"]["halt_reason"]) == ([], "action_changed")
    assert state["looppause"]["action"] == action_of({"amount": 5})


def test_an_answer_is_used_up(looppause: FakeLoopPause, saver: PostgresSaver) -> None:
    """Sent once more after the thread has gone on, it pays nothing again."""
    payments = Payments()
    graph = agent(looppause, saver, pay=payments.pay)
    graph.invoke({"amount": 5}, on("t"))
    [waiting] = graph.get_state(on("t")).interrupts
    proof = looppause.decide(waiting.value["pause_id"])
    for _ in range(2):
        graph.invoke(Command(resume={waiting.id: proof}), on("t"))
    assert len(payments.made) == 1


async def test_the_answer_may_come_to_an_async_saver(
    looppause: FakeLoopPause, database_url: str
) -> None:
    """The agent's process is sync, the receiver's is not: same tables, same question."""
    with PostgresSaver.from_conn_string(database_url) as here:
        agent(looppause, here).invoke({"amount": 5}, on("t"))
    proof = looppause.decide(*looppause.pauses)
    async with AsyncPostgresSaver.from_conn_string(database_url) as there:
        graph = agent(looppause, there)
        [waiting] = (await graph.aget_state(on("t"))).interrupts
        state = await graph.ainvoke(Command(resume={waiting.id: proof}), on("t"))
    assert state["done"] == ["paid"]
