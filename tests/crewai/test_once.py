"""An approval is given to one call, and no other call ever has it."""

from __future__ import annotations

from looppause_sdk.crewai import HumanApprovalTool
from looppause_sdk.testing import FakeLoopPause
from tests.crews import Ledger, People, client_of, crew_of, gate, pays, run, scripted


def deciding_once(looppause: FakeLoopPause, people: People) -> None:
    """The first pause is approved, all later ones are rejected."""
    people.answering(
        lambda pause: looppause.decide(
            pause["pause_id"], "approved" if pause is people.asked[0] else "rejected"
        )
    )


def test_equal_calls_are_asked_about_each(looppause: FakeLoopPause, people: People) -> None:
    """One after another in one run: two questions with two keys, one payment."""
    deciding_once(looppause, people)
    ledger = Ledger()

    run(crew_of(scripted("native", *pays(10, 10)), gate(ledger.tool(), looppause)))

    assert people.amounts == [10, 10]
    assert len(set(people.keys)) == 2
    assert ledger.amounts == [10]


def test_an_equal_call_under_react_is_not_paid_again(
    looppause: FakeLoopPause, people: People
) -> None:
    """CrewAI itself answers a repeated call there, without running or asking anything."""
    people.deciding("approved")
    ledger = Ledger()

    run(crew_of(scripted("react", *pays(10, 10)), gate(ledger.tool(), looppause)))

    assert people.amounts == [10]
    assert ledger.amounts == [10]


def test_equal_calls_under_react_with_another_between_are_asked_about_each(
    looppause: FakeLoopPause, people: People
) -> None:
    """10, 20, 10: three questions, one payment."""
    deciding_once(looppause, people)
    ledger = Ledger()

    run(crew_of(scripted("react", *pays(10, 20, 10)), gate(ledger.tool(), looppause)))

    assert people.amounts == [10, 20, 10]
    assert ledger.amounts == [10]


def test_equal_calls_in_one_message_are_asked_about_each(
    looppause: FakeLoopPause, people: People
) -> None:
    """Side by side: one approval pays once."""
    deciding_once(looppause, people)
    ledger = Ledger()
    call = ("pay", {"amount": 10})

    run(crew_of(scripted("native", [call, call, call]), gate(ledger.tool(), looppause)))

    assert people.amounts == [10, 10, 10]
    assert ledger.amounts == [10]


def test_the_cache_never_answers(style: str, looppause: FakeLoopPause, people: People) -> None:
    """With `cache=True` neither an approved result nor a denial is given to the next call."""
    deciding_once(looppause, people)
    ledger = Ledger()
    llm = scripted(style, *pays(10, 20, 10))
    crew = crew_of(llm, gate(ledger.tool(), looppause), cache=True, crew={"cache": True})

    run(crew)
    run(crew)

    assert people.amounts == [10, 20, 10] * 2
    assert ledger.amounts == [10]


def test_the_bare_tool_is_cached_there(style: str) -> None:
    """What the gate has to withstand: this crew does answer the third call from its cache."""
    ledger = Ledger()
    llm = scripted(style, *pays(10, 20, 10))

    run(crew_of(llm, ledger.tool(), cache=True, crew={"cache": True}))

    assert ledger.amounts == [10, 20]


def test_each_run_of_a_crew_asks_again(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """The same crew kicked off twice: two questions."""
    deciding_once(looppause, people)
    ledger = Ledger()
    crew = crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause))

    run(crew)
    run(crew)

    assert people.amounts == [10, 10]
    assert len(set(people.keys)) == 2
    assert ledger.amounts == [10]


def test_each_input_of_a_crew_asks_again(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`kickoff_for_each` copies the crew; an approval stays with the copy that asked."""
    deciding_once(looppause, people)
    ledger = Ledger()
    crew = crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause))

    crew.kickoff_for_each(inputs=[{"bill": str(number)} for number in range(3)])

    assert people.amounts == [10, 10, 10]
    assert ledger.amounts == [10]


async def test_each_input_side_by_side_asks_again(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`kickoff_for_each_async` too, where the copies wait at the same time."""
    deciding_once(looppause, people)
    ledger = Ledger()
    crew = crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause))

    await crew.kickoff_for_each_async(inputs=[{"bill": str(number)} for number in range(3)])

    assert people.amounts == [10, 10, 10]
    assert ledger.amounts == [10]


def test_an_agent_that_tries_again_asks_again(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """When the agent starts over after an error of its LLM, nothing is remembered."""
    deciding_once(looppause, people)
    ledger, llm = Ledger(), scripted(style, *pays(10))
    llm.faults = [None, RuntimeError("the model is overloaded")]

    run(crew_of(llm, gate(ledger.tool(), looppause)))

    assert people.amounts == [10, 10]
    assert ledger.amounts == [10]


def test_a_request_sent_again_is_the_same_question(
    looppause: FakeLoopPause, people: People
) -> None:
    """Trouble on the way to LoopPause asks nobody twice: the key stays through the retries."""
    people.deciding("approved")
    looppause.fail_next(503, times=2)
    ledger = Ledger()

    run(crew_of(scripted("native", *pays(10)), gate(ledger.tool(), looppause)))

    assert people.amounts == [10]
    assert ledger.amounts == [10]


def test_the_asking_tool_asks_again_each_time(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Equal questions of `HumanApprovalTool` are different pauses, cache or not."""
    deciding_once(looppause, people)
    ask = HumanApprovalTool(slack_channel="#finance", client=client_of(looppause))
    question = {"action_description": "Pay 10", "action_details": {"amount": 10}}
    llm = scripted(style, [("request_human_approval", question)])
    crew = crew_of(llm, ask, cache=True, crew={"cache": True})

    run(crew)
    first = llm.heard
    run(crew)

    assert "APPROVED" in first
    assert "DENIED" in llm.heard
    assert len(set(people.keys)) == 2
