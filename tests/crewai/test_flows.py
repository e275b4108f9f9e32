"""Flows that hibernate at a gate and go on by hand: what an answer does, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from crewai.flow import Flow, HumanFeedbackResult, human_feedback, listen, start
from crewai.flow.async_feedback import HumanFeedbackPending
from crewai.flow.flow_config import flow_config
from pydantic import SecretStr

from looppause_sdk import (
    AsyncLoopPauseClient,
    GateError,
    LoopPauseConfigError,
    LoopPauseUnavailable,
    NotWaiting,
    ProofInvalid,
)
from looppause_sdk.crewai.flows import PostgresFlowPersistence, aresume_flow, resume_flow
from looppause_sdk.testing import FakeLoopPause
from tests import postgres
from tests.agents import client_of
from tests.refunds import Done, Refund, gate, kickoff, looping, pause_of, refunding, two_gates


@pytest.fixture(scope="module")
def url(postgres_server: postgres.Server) -> Iterator[str]:
    """One database for all tests here: their flows have ids of their own."""
    made = postgres_server.database()
    yield made
    postgres_server.drop(made)


@pytest.fixture
def persistence(url: str) -> PostgresFlowPersistence:
    return PostgresFlowPersistence(url)


@pytest.fixture
def done() -> Done:
    return Done()


async def test_an_approved_flow_pays_what_was_shown(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """The person sees the method's output; the next method gets the whole result."""
    flow_class = refunding(client_of(looppause), done.act)
    pause_id = await kickoff(flow_class, persistence, amount=7)
    asked = looppause.document(pause_id)["request"]
    assert (asked["agent_id"], asked["action"]) == (
        "refunds",
        {"type": "propose", "description": "Pay this refund?", "details": {"amount": 7}},
    )
    proof = looppause.decide(pause_id, responder="ada", comment="fine", fields={"centre": "4711"})

    assert await aresume_flow(flow_class, proof, persistence=persistence) == "pay"

    assert done.names == ["pay"]
    assert done.last == {
        "approved": True,
        "decision": "approved",
        "authorization_type": "human",
        "responder": "ada",
        "responded_at": proof["responded_at"],
        "channel": "web",
        "comment": "fine",
        "fields": {"centre": "4711"},
        "pause_id": pause_id,
        "action": asked["action"],
        "halt_reason": None,
    }


def _fallback(looppause: FakeLoopPause, pause_id: str) -> Any:
    return looppause.decide(pause_id, authorization_type="system_fallback")


def _receivers_word(looppause: FakeLoopPause, pause_id: str) -> Any:
    return {"pause_id": pause_id, "status": "expired"}


@pytest.mark.parametrize(
    "answer, ran, reason",
    [
        (lambda fake, pause: fake.decide(pause), "pay", None),
        (lambda fake, pause: fake.decide(pause, comment="rejected! revise!"), "pay", None),
        (lambda fake, pause: fake.decide(pause, "rejected"), "refuse", "rejected"),
        (
            lambda fake, pause: fake.decide(pause, "rejected", comment="approved publish"),
            "refuse",
            "rejected",
        ),
        (_fallback, "refuse", "system_fallback"),
        (lambda fake, pause: fake.expire(pause), "refuse", "expired"),
        (lambda fake, pause: fake.time_out(pause), "refuse", "timed_out"),
        (_receivers_word, "refuse", "expired"),
    ],
)
async def test_the_outcome_is_the_decision_whatever_was_said(
    looppause: FakeLoopPause,
    persistence: PostgresFlowPersistence,
    done: Done,
    answer: Any,
    ran: str,
    reason: str | None,
) -> None:
    """Only a human approval leads to the approving outcome; no model reads what was said."""
    flow_class = refunding(client_of(looppause), done.act)
    pause_id = await kickoff(flow_class, persistence)

    await aresume_flow(flow_class, answer(looppause, pause_id), persistence=persistence)

    assert (done.names, done.last["halt_reason"]) == ([ran], reason)
    assert done.last["approved"] is (reason is None)


@pytest.mark.parametrize("decision, ran", [("approved", "pay"), ("rejected", "refuse")])
async def test_outcomes_of_other_names_are_mapped(
    looppause: FakeLoopPause,
    persistence: PostgresFlowPersistence,
    done: Done,
    decision: str,
    ran: str,
) -> None:
    """Neither their names nor their order decides what they mean."""
    flow_class = refunding(
        client_of(looppause), done.act, emit=("no", "yes"), approved="no", denied="yes"
    )
    pause_id = await kickoff(flow_class, persistence)
    proof = looppause.decide(pause_id, decision, comment="yes")
    await aresume_flow(flow_class, proof, persistence=persistence)
    assert done.names == [ran]


async def test_without_emit_the_next_method_is_told_and_has_to_look(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """A gate that routes nothing hands its result on, and no text to mistake for a yes."""
    said: list[HumanFeedbackResult] = []

    def note(name: str, review: HumanFeedbackResult) -> str:
        said.append(review)
        return done.act(name, review)

    flow_class = refunding(client_of(looppause), note, emit=None)
    pause_id = await kickoff(flow_class, persistence)
    proof = looppause.decide(pause_id, "rejected", comment="yes, approved")

    await aresume_flow(flow_class, proof, persistence=persistence)

    assert (done.last["approved"], done.last["comment"]) == (False, "yes, approved")
    assert (said[0].feedback, said[0].outcome) == ("", None)


async def test_a_fallback_opens_a_gate_that_takes_one(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """`require_human=False` is the only way for a configured default to approve."""
    flow_class = refunding(client_of(looppause), done.act, require_human=False)
    pause_id = await kickoff(flow_class, persistence)
    await aresume_flow(flow_class, _fallback(looppause, pause_id), persistence=persistence)
    assert done.names == ["pay"]


async def test_a_forged_proof_changes_nothing(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """It is refused, the flow waits on, and the genuine one still works."""
    flow_class = refunding(client_of(looppause), done.act)
    pause_id = await kickoff(flow_class, persistence)
    genuine = looppause.decide(pause_id, "rejected")
    with pytest.raises(ProofInvalid):
        await aresume_flow(flow_class, {**genuine, "decision": "approved"}, persistence=persistence)
    stranger = client_of(FakeLoopPause())
    with pytest.raises(ProofInvalid):
        await aresume_flow(flow_class, genuine, persistence=persistence, client=stranger)
    assert done.names == []

    await aresume_flow(flow_class, genuine, persistence=persistence)
    assert done.names == ["refuse"]


async def test_a_proof_moves_only_the_flow_it_answers(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Two flows ask the same; the approval of one leaves the other hibernating."""
    flow_class = refunding(client_of(looppause), done.act)
    ours, theirs = [await kickoff(flow_class, persistence) for _ in range(2)]
    assert ours != theirs
    await aresume_flow(flow_class, looppause.decide(ours), persistence=persistence)
    assert [result["pause_id"] for _, result in done.acts] == [ours]
    await aresume_flow(flow_class, looppause.decide(theirs, "rejected"), persistence=persistence)
    assert done.names == ["pay", "refuse"]


async def test_a_proof_nobody_waits_for_is_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """An unknown pause, and one that was answered, start nothing."""
    flow_class = refunding(client_of(looppause), done.act)
    proof = looppause.decide(await kickoff(flow_class, persistence))
    await aresume_flow(flow_class, proof, persistence=persistence)
    with pytest.raises(NotWaiting, match="already"):
        await aresume_flow(flow_class, proof, persistence=persistence)
    unknown = looppause.sign({**_unsigned(proof), "pause_id": "pause_of_nobody"})
    with pytest.raises(NotWaiting, match="no flow waits"):
        await aresume_flow(flow_class, unknown, persistence=persistence)
    assert done.names == ["pay"]


def _unsigned(proof: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in proof.items() if name != "signature"}


async def test_three_resumes_at_once_pay_once(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """One goes on, the others are told that somebody does, or has."""

    def slow(name: str, review: HumanFeedbackResult) -> str:
        import time

        time.sleep(0.3)
        return done.act(name, review)

    flow_class = refunding(client_of(looppause), slow)
    proof = looppause.decide(await kickoff(flow_class, persistence))
    outcomes = await asyncio.gather(
        *(aresume_flow(flow_class, proof, persistence=persistence) for _ in range(3)),
        return_exceptions=True,
    )
    assert done.names == ["pay"]
    assert outcomes.count("pay") == 1
    assert sum(isinstance(outcome, GateError) for outcome in outcomes) == 2


async def test_a_flow_that_raises_still_waits(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """What the person said is not lost with the run: the same proof lets it go on again."""
    done.raises = 1
    flow_class = refunding(client_of(looppause), done.act)
    proof = looppause.decide(await kickoff(flow_class, persistence))
    with pytest.raises(RuntimeError, match="provider is down"):
        await aresume_flow(flow_class, proof, persistence=persistence)
    assert await aresume_flow(flow_class, proof, persistence=persistence) == "pay"
    assert done.names == ["pay", "pay"]


async def test_two_gates_of_a_flow_need_two_answers(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """The first answer leads to the second question, and never opens it."""
    flow_class = two_gates(client_of(looppause), done.act)
    first = looppause.decide(await kickoff(flow_class, persistence))
    second = pause_of(await aresume_flow(flow_class, first, persistence=persistence))
    with pytest.raises(NotWaiting):
        await aresume_flow(flow_class, first, persistence=persistence)
    assert done.names == ["second"]
    await aresume_flow(flow_class, looppause.decide(second), persistence=persistence)
    assert done.names == ["second", "pay"]


async def test_each_visit_of_a_gate_is_a_question_of_its_own(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """A loop asks the very same again, as a new pause; the old answer does not count for it."""
    flow_class = looping(client_of(looppause), done.act)
    pauses = [await kickoff(flow_class, persistence)]
    for _ in range(2):
        proof = looppause.decide(pauses[-1], "rejected")
        pauses.append(pause_of(await aresume_flow(flow_class, proof, persistence=persistence)))
    assert len(set(pauses)) == 3
    await aresume_flow(flow_class, looppause.decide(pauses[-1]), persistence=persistence)
    assert (done.names, done.last["pause_id"]) == (["pay"], pauses[-1])


class _KilledError(Exception):
    """The process died once LoopPause had taken the question."""


@contextmanager
def _dying_after(looppause: FakeLoopPause, count: int) -> Iterator[None]:
    def die(_document: Any) -> None:
        if len(looppause.documents()) == count:
            raise _KilledError

    looppause.listeners.append(die)
    with pytest.raises(_KilledError):
        yield
    looppause.listeners.remove(die)


async def test_a_flow_that_died_before_it_hibernated_does_not_ask_again(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Started again under its id, it finds the same pause, however often."""
    flow_class = refunding(client_of(looppause), done.act)
    with _dying_after(looppause, 1):
        await kickoff(flow_class, persistence, id="refund-1")
    [asked] = looppause.documents()
    assert await kickoff(flow_class, persistence, id="refund-1") == asked["pause_id"]
    assert await kickoff(flow_class, persistence, id="refund-1") == asked["pause_id"]
    await aresume_flow(flow_class, looppause.decide(asked["pause_id"]), persistence=persistence)
    assert done.names == ["pay"]


async def test_a_run_repeated_up_to_the_next_gate_does_not_ask_that_again(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Killed between asking the second question and hibernating, it finds the same pause."""
    flow_class = looping(client_of(looppause), done.act)
    first = looppause.decide(await kickoff(flow_class, persistence), "rejected")
    with _dying_after(looppause, 2):
        await aresume_flow(flow_class, first, persistence=persistence)
    second = pause_of(await aresume_flow(flow_class, first, persistence=persistence))
    assert looppause.documents()[0]["pause_id"] == second
    assert len(looppause.documents()) == 2


async def test_the_same_flow_id_in_another_database_is_another_question(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, postgres_server: Any, done: Done
) -> None:
    """An approval in one environment is none in the next."""
    flow_class = refunding(client_of(looppause), done.act)
    other = postgres_server.database()
    try:
        ours = await kickoff(flow_class, persistence, id="refund-2")
        assert ours != await kickoff(flow_class, other, id="refund-2")
    finally:
        postgres_server.drop(other)


async def test_an_id_used_again_after_the_end_asks_again(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """A second run under the same id is a second visit."""
    flow_class = refunding(client_of(looppause), done.act)
    first = await kickoff(flow_class, persistence, id="refund-3")
    await aresume_flow(flow_class, looppause.decide(first), persistence=persistence)
    assert await kickoff(flow_class, persistence, id="refund-3") != first


async def test_crewais_own_resume_is_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """It would verify nothing and let a text, or no text at all, approve."""
    flow_class = refunding(client_of(looppause), done.act)
    await kickoff(flow_class, persistence, id="refund-4")
    with pytest.raises(GateError, match="aresume_flow"):
        flow_class.from_pending("refund-4", persistence)


async def test_an_approval_of_something_else_is_a_denial(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, url: str, done: Done
) -> None:
    """What the flow would act on is no longer what the person was shown."""

    def action(output: Any, state: Any) -> dict[str, Any]:
        return {"type": "refund", "description": "Pay", "details": {"amount": state["amount"]}}

    flow_class = refunding(client_of(looppause), done.act, action=action)
    pause_id = await kickoff(flow_class, persistence, amount=10)
    with psycopg.connect(url) as connection:
        connection.execute(
            "update looppause_flows.pauses"
            " set state = (state::jsonb || '{\"amount\": 10000}')::json where pause_id = %s",
            (pause_id,),
        )
    await aresume_flow(flow_class, looppause.decide(pause_id), persistence=persistence)
    assert (done.names, done.last["halt_reason"]) == (["refuse"], "action_changed")
    assert done.last["action"]["details"] == {"amount": 10}


async def test_the_question_is_built_from_output_and_state(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Whom to ask and with which form may depend on what the flow has found."""
    flow_class = refunding(
        client_of(looppause),
        done.act,
        recipients=lambda output, _: [{"channel": "email", "target": f"{output['amount']}@x.org"}],
        form=lambda _, state: {"title": state["kind"]},
    )
    pause_id = await kickoff(flow_class, persistence, amount=3, kind="voucher")
    asked = looppause.document(pause_id)["request"]
    assert asked["recipients"][0]["target"] == "3@x.org"
    assert asked["form"] == {"title": "voucher"}


async def test_an_async_client_asks_too(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """An `AsyncLoopPauseClient` is awaited; what follows is the same."""
    client = AsyncLoopPauseClient(
        "key",
        looppause.secret,
        http_client=httpx.AsyncClient(transport=looppause.async_transport),
        env={},
    )
    flow_class = refunding(client, done.act)
    pause_id = await kickoff(flow_class, persistence)
    await aresume_flow(flow_class, looppause.decide(pause_id), persistence=persistence)
    assert done.names == ["pay"]


def test_a_flow_is_resumed_outside_an_event_loop(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """`resume_flow` for scripts; the proof as the bytes that were received."""
    flow_class = refunding(client_of(looppause), done.act)
    outcome = flow_class(persistence=persistence).kickoff()
    import json

    proof = json.dumps(looppause.decide(pause_of(outcome))).encode()
    assert resume_flow(flow_class, proof, persistence=persistence) == "pay"


# -- what is refused before anybody is asked -------------------------------------------------


async def test_a_flow_with_nowhere_to_hibernate_does_not_ask(
    looppause: FakeLoopPause, done: Done, tmp_path: Any
) -> None:
    """CrewAI's own SQLite file is nothing the receiver could resume from."""
    from crewai.flow.persistence import SQLiteFlowPersistence

    flow_class = refunding(client_of(looppause), done.act)
    for persistence in (None, SQLiteFlowPersistence(str(tmp_path / "flows.db"))):
        with pytest.raises(GateError, match="nowhere to hibernate"):
            await flow_class(persistence=persistence).kickoff_async()
    assert looppause.documents() == []


@pytest.mark.parametrize("emit", [("yes", "no"), ("approved", "no"), ("yes", "rejected")])
async def test_outcomes_that_are_not_mapped_are_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done, emit: Any
) -> None:
    """Nobody is asked while it is not settled what their answer would lead to."""
    flow_class = refunding(client_of(looppause), done.act, emit=emit)
    with pytest.raises(LoopPauseConfigError, match="has no outcome"):
        await kickoff(flow_class, persistence)
    assert looppause.documents() == []


def test_one_outcome_cannot_mean_yes_and_no(looppause: FakeLoopPause) -> None:
    """Approval and denial lead to different places."""
    with pytest.raises(LoopPauseConfigError, match="two outcomes"):
        gate(client_of(looppause), approved="next", denied="next")


class _WithSecret(Refund):
    token: SecretStr = SecretStr("hunter2")


async def test_a_secret_in_the_state_is_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """It would be stored, or come back as asterisks."""

    class Leaking(Flow[_WithSecret]):
        @start()
        @human_feedback(message="?", provider=gate(client_of(looppause)))
        def propose(self) -> str:
            return "x"

    with pytest.raises(LoopPauseConfigError, match="secret") as refused:
        await kickoff(Leaking, persistence)
    assert "hunter2" not in str(refused.value)
    assert looppause.documents() == []


async def test_a_state_that_json_cannot_hold_is_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """A dict state with a date would come back with a text."""
    from datetime import UTC, datetime

    class Dated(Flow):  # type: ignore[type-arg]  # a state without a model
        @start()
        @human_feedback(message="?", provider=gate(client_of(looppause)))
        def propose(self) -> str:
            self.state["due"] = datetime.now(UTC)
            return "x"

    with pytest.raises(LoopPauseConfigError, match="plain JSON"):
        await kickoff(Dated, persistence)
    assert looppause.documents() == []


async def test_an_outage_opens_nothing(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Where nobody can be asked the flow raises, and may be started again."""
    flow_class = refunding(client_of(looppause), done.act)
    looppause.fail_next(503, times=4)
    with pytest.raises(LoopPauseUnavailable):
        await kickoff(flow_class, persistence)
    assert done.names == []


# -- flow classes that do not fit ------------------------------------------------------------


async def test_another_class_than_the_one_that_hibernated_is_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """It might have a method of the same name that does something else."""
    proof = looppause.decide(await kickoff(refunding(client_of(looppause), done.act), persistence))
    with pytest.raises(GateError, match="a RefundFlow hibernates here, not a Looping"):
        await aresume_flow(looping(client_of(looppause), done.act), proof, persistence=persistence)


async def test_a_class_that_lost_its_gate_is_refused(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Nothing is consumed: the version that has the gate can still go on."""
    flow_class = refunding(client_of(looppause), done.act)
    proof = looppause.decide(await kickoff(flow_class, persistence))

    class RefundFlow(Flow[Refund]):
        @start()
        def propose(self) -> str:
            return "without asking"

        @listen(propose)
        def pay(self) -> str:
            return "paid"

    with pytest.raises(GateError, match="no method 'propose' with LoopPauseFeedback"):
        await aresume_flow(RefundFlow, proof, persistence=persistence)
    assert await aresume_flow(flow_class, proof, persistence=persistence) == "pay"


async def test_a_pending_flow_says_where_it_waits(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, done: Done
) -> None:
    """Whoever runs the flow gets the pause id, to show or to log."""
    outcome = await refunding(client_of(looppause), done.act)(
        persistence=persistence
    ).kickoff_async()
    assert isinstance(outcome, HumanFeedbackPending)
    assert outcome.callback_info == {"pause_id": looppause.documents()[0]["pause_id"]}


async def test_a_provider_for_all_flows_is_a_gate_too(
    looppause: FakeLoopPause,
    persistence: PostgresFlowPersistence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CrewAI takes one from its configuration where a method names none."""

    class Configured(Flow[Refund]):
        @start()
        @human_feedback(message="?", emit=["approved", "rejected"])
        def propose(self) -> dict[str, Any]:
            return {"amount": self.state.amount}

        @listen("approved")
        def pay(self, review: HumanFeedbackResult) -> bool:
            return bool(review.metadata["looppause"]["approved"])

    monkeypatch.setattr(flow_config, "_hitl_provider", gate(client_of(looppause)))
    pause_id = await kickoff(Configured, persistence)
    proof = looppause.decide(pause_id)
    assert await aresume_flow(Configured, proof, persistence=persistence) is True
