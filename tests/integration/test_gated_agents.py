"""A gated call in every kind of agent: what follows from each kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import is_invalid_resume
from langgraph.types import Command
from pydantic import ValidationError

from looppause_sdk.testing import FakeLoopPause
from tests.chat import call, calling
from tests.gated import AGENTS, RUNS, HearingChat, Run, Till, pauses_by_amount
from tests.gates import cut_off, requests_since

# langgraph-supervisor 0.0.31 builds its supervisor with what LangGraph has since moved.
pytestmark = pytest.mark.filterwarnings(
    "ignore:create_react_agent has been moved::langgraph_supervisor"
)

PAY = calling(call("pay", amount=5, to="Bolt"))


@dataclass
class Case:
    """An agent with a gated till, and how to run it."""

    kind: str
    run: Run
    looppause: FakeLoopPause
    till: Till = field(default_factory=Till)
    model: HearingChat = field(default_factory=lambda: HearingChat([PAY]))

    def agent(self, *script: AIMessage, **settings: Any) -> Any:
        if script:
            self.model = HearingChat(script)
        client = self.run.client_of(self.looppause)
        saver = InMemorySaver()
        return AGENTS[self.kind](client, [self.till.tool()], self.model, saver, **settings)

    async def asked(self, *script: AIMessage, **settings: Any) -> tuple[Any, str]:
        """An agent that hibernates at one question, and its pause."""
        agent = self.agent(*script, **settings)
        await self.run.start(agent)
        [pause_id] = await self.run.waiting(agent)
        return agent, pause_id

    async def finished(self, agent: Any) -> bool:
        return not (await self.run.state(agent)).next


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


@pytest.fixture(params=AGENTS)
def case(request: pytest.FixtureRequest, run: Run, looppause: FakeLoopPause) -> Case:
    return Case(request.param, run, looppause)


# -- yes ---------------------------------------------------------------------------------------


async def test_an_approved_call_runs_with_the_arguments_shown(case: Case) -> None:
    """One pause with the real arguments; no network is needed to go on; it pays once."""
    agent, pause_id = await case.asked()
    [document] = case.looppause.pauses.values()
    assert document["request"]["action"] == {
        "type": "pay",
        "description": "pay(amount=5, to='Bolt')",
        "details": {"amount": 5, "to": "Bolt"},
    }
    proof = case.looppause.decide(pause_id)
    cut_off(case.looppause)
    await case.run.answer(agent, proof)
    assert case.till.paid == [("Bolt", 5)]
    assert requests_since(case.looppause) == 0
    assert case.model.heard["call-1"].content == "paid 5 to Bolt"
    assert await case.finished(agent)


async def test_defaults_are_shown_too(case: Case) -> None:
    """The person sees what the model left out."""
    _, _ = await case.asked(calling(call("pay", amount=5)))
    [document] = case.looppause.pauses.values()
    assert document["request"]["action"]["details"] == {"amount": 5, "to": "ACME"}


async def test_only_the_fields_allowed_are_edited(case: Case) -> None:
    """The amount may be changed, the payee may not; the model is told."""
    agent, pause_id = await case.asked(fields=["amount"])
    edits = {"amount": 3, "to": "Mallory", "note": "less"}
    await case.run.answer(agent, case.looppause.decide(pause_id, fields=edits))
    assert case.till.paid == [("Bolt", 3)]
    heard = case.model.heard["call-1"].content
    assert "amount=3" in heard
    assert "paid 3 to Bolt" in heard


async def test_an_edit_that_does_not_fit_is_told_to_the_model(case: Case) -> None:
    """Nothing is paid, and the model goes on."""
    agent, pause_id = await case.asked(fields=["amount"])
    proof = case.looppause.decide(pause_id, fields={"amount": "a lot"})
    await case.run.answer(agent, proof)
    assert case.till.paid == []
    heard = case.model.heard["call-1"]
    assert heard.status == "error"
    assert "amount" in heard.content
    assert await case.finished(agent)


async def test_a_call_below_the_threshold_asks_nobody(case: Case) -> None:
    """`when` says no: the tool runs at once."""
    agent = case.agent(when=lambda arguments: arguments["amount"] > 1000)
    await case.run.start(agent)
    assert case.till.paid == [("Bolt", 5)]
    assert not case.looppause.pauses


async def test_a_second_call_is_a_second_question(case: Case) -> None:
    """The same call in the next message is not covered by the first answer."""
    again = calling(call("pay", _id="call-2", amount=5, to="Bolt"))
    agent, first = await case.asked(PAY, again)
    await case.run.answer(agent, case.looppause.decide(first))
    [second] = await case.run.waiting(agent)
    assert second != first
    assert case.till.paid == [("Bolt", 5)]
    await case.run.answer(agent, case.looppause.decide(second, "rejected"))
    assert case.till.paid == [("Bolt", 5)]
    assert await case.finished(agent)


# -- no ----------------------------------------------------------------------------------------


def _fallback(looppause: FakeLoopPause, pause_id: str) -> Any:
    return looppause.decide(pause_id, authorization_type="system_fallback", comment="never mind")


def _not_human(looppause: FakeLoopPause, pause_id: str) -> Any:
    proof = looppause.decide(pause_id, comment="never mind")
    del proof["signature"]
    return looppause.sign({**proof, "human_response": False})


DENIALS: dict[str, tuple[Callable[[FakeLoopPause, str], Any], str]] = {
    "rejected": (lambda lp, p: lp.decide(p, "rejected", comment="never mind"), "rejected it"),
    "system fallback": (_fallback, "no person answered"),
    "not human": (_not_human, "not given by a person"),
    "timed out": (lambda lp, p: lp.time_out(p), "in time"),
    "expired": (lambda lp, p: lp.expire(p), "expired"),
    "the receiver's own": (lambda _, p: {"pause_id": p, "status": "cancelled"}, "withdrawn"),
}


async def test_a_denied_call_does_not_run_and_the_model_goes_on(case: Case) -> None:
    """The model gets an error with the reason and the person's comment."""
    agent = case.agent()
    for denial, (make, reason) in DENIALS.items():
        await case.run.start(agent, thread_id=denial)
        [pause_id] = await case.run.waiting(agent, denial)
        proof = make(case.looppause, pause_id)
        await case.run.answer(agent, proof, thread_id=denial)
        heard = case.model.heard["call-1"]
        assert (heard.status, heard.name) == ("error", "pay")
        assert reason in heard.content
        assert ("never mind" in heard.content) == ("comment" in proof)
        assert case.till.paid == []
        assert (await case.run.state(agent, denial)).next == ()


# -- neither -----------------------------------------------------------------------------------


def _forged(proof: dict[str, Any]) -> Any:
    return {**proof, "signature": "0" * 64}


NO_ANSWERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "forged": _forged,
    "changed": lambda proof: {**proof, "comment": "I like it"},
    "unsigned": lambda proof: {k: v for k, v in proof.items() if k != "signature"},
    "true": lambda _: True,
    "number": lambda _: 5,
    "text": lambda _: "approved",
    "list": lambda proof: [proof],
    "none of it": lambda _: {"approved": True},
    "decisions": lambda _: {"decisions": [{"type": "approve"}]},
    "a denial of another": lambda _: {"pause_id": "pause_other", "status": "expired"},
}


async def test_what_proves_nothing_raises_and_changes_nothing(case: Case) -> None:
    """The thread stays paused, and the genuine proof is taken afterwards."""
    agent, pause_id = await case.asked()
    proof = case.looppause.decide(pause_id)
    waiting = await case.run.waiting(agent)
    for make in NO_ANSWERS.values():
        with pytest.raises(ValidationError) as caught:
            await case.run.run(agent, Command(resume={waiting[pause_id]: make(proof)}))
        assert is_invalid_resume(caught.value)
        assert await case.run.waiting(agent) == waiting
    assert case.till.paid == []
    await case.run.answer(agent, proof)
    assert case.till.paid == [("Bolt", 5)]
    assert list(case.looppause.pauses) == [pause_id]


async def test_a_genuine_proof_of_another_pause_is_refused(case: Case) -> None:
    """Approved was 5 for Bolt in another thread; this thread asks about a million."""
    agent, pause_id = await case.asked(calling(call("pay", amount=1_000_000, to="Mallory")))
    other = Case(case.kind, case.run, case.looppause)
    _, foreign_id = await other.asked()
    waiting = await case.run.waiting(agent)
    foreign = case.looppause.decide(foreign_id)
    with pytest.raises(ValidationError, match=foreign_id):
        await case.run.run(agent, Command(resume={waiting[pause_id]: foreign}))
    assert await case.run.waiting(agent) == waiting
    assert case.till.paid == []


async def test_the_same_proof_again_does_nothing(case: Case) -> None:
    """A second delivery finds the thread done, and the till untouched."""
    agent, pause_id = await case.asked()
    waiting = await case.run.waiting(agent)
    proof = case.looppause.decide(pause_id)
    for _ in range(3):
        await case.run.run(agent, Command(resume={waiting[pause_id]: proof}))
    assert case.till.paid == [("Bolt", 5)]


# -- several in one message --------------------------------------------------------------------

THREE = calling(*(call("pay", _id=f"call-{n}", amount=n, to="Bolt") for n in (1, 2, 3)))


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
async def test_each_of_several_calls_gets_its_own_answer(case: Case, order: tuple[int]) -> None:
    """One is rejected; in any order each answer, twice delivered, does its own work."""
    agent = case.agent(THREE)
    await case.run.start(agent)
    pauses = pauses_by_amount(case.looppause)
    interrupts = await case.run.waiting(agent)
    assert set(interrupts) == set(pauses.values())
    for amount in order:
        pause_id = pauses[amount]
        proof = case.looppause.decide(pause_id, "rejected" if amount == 2 else "approved")
        for _ in range(2):
            await case.run.run(agent, Command(resume={interrupts[pause_id]: proof}))
    assert case.till.paid == [("Bolt", amount) for amount in order if amount != 2]
    heard = {call_id: said.content for call_id, said in case.model.heard.items()}
    assert (heard["call-1"], heard["call-3"]) == ("paid 1 to Bolt", "paid 3 to Bolt")
    assert "DENIED" in heard["call-2"]
    assert len(case.looppause.pauses) == 3
    assert await case.finished(agent)


async def test_several_answers_in_one_map(case: Case) -> None:
    """Two at once, then the third."""
    agent = case.agent(THREE)
    await case.run.start(agent)
    pauses = pauses_by_amount(case.looppause)
    await case.run.answer(agent, *(case.looppause.decide(pauses[n]) for n in (3, 1)))
    assert sorted(case.till.paid) == [("Bolt", 1), ("Bolt", 3)]
    assert list(await case.run.waiting(agent)) == [pauses[2]]
    await case.run.answer(agent, case.looppause.decide(pauses[2]))
    assert sorted(case.till.paid) == [("Bolt", 1), ("Bolt", 2), ("Bolt", 3)]
    assert await case.finished(agent)


async def test_a_forged_answer_beside_a_genuine_one(case: Case) -> None:
    """One map, one lie in it: the lie is raised, and both calls can still be answered."""
    agent = case.agent(THREE)
    await case.run.start(agent)
    pauses = pauses_by_amount(case.looppause)
    proofs = {n: case.looppause.decide(pauses[n]) for n in pauses}
    with pytest.raises(ValidationError):
        await case.run.answer(agent, proofs[1], _forged(proofs[2]))
    assert ("Bolt", 2) not in case.till.paid
    for amount in (3, 2, 1):
        waiting = await case.run.waiting(agent)
        if pauses[amount] in waiting:
            await case.run.answer(agent, proofs[amount])
    await case.run.run(agent, None)
    assert sorted(case.till.paid) == [("Bolt", 1), ("Bolt", 2), ("Bolt", 3)]
    assert await case.finished(agent)
