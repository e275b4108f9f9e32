"""An answer that comes when nobody waits for it any more runs nothing."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from crewai.tools import ToolExecutionFailedError, tool

from looppause_sdk.client import Clock
from looppause_sdk.testing import FakeLoopPause
from tests.crews import Ledger, People, client_of, crew_of, gate, pays, run, scripted


def slow_person(looppause: FakeLoopPause, seconds: float) -> Any:
    """Approves, but only after so many seconds."""

    def answer(pause: dict[str, Any]) -> None:
        time.sleep(seconds)
        looppause.decide(pause["pause_id"], "approved")

    return answer


def answering_once_given_up(looppause: FakeLoopPause, people: People) -> threading.Event:
    """Everybody approves, but only once the event that is returned is set."""
    given_up = threading.Event()

    def answer(pause: dict[str, Any]) -> None:
        if not given_up.wait(10):
            looppause.time_out(pause["pause_id"])
            raise AssertionError("the agent still waits")
        looppause.decide(pause["pause_id"], "approved")

    people.answering(answer)
    return given_up


def test_the_bare_facts_of_max_execution_time(style: str) -> None:
    """What the gate has to withstand: CrewAI waits for the tool, then raises all the same."""
    ledger, llm = Ledger(), scripted(style, *pays(10))

    @tool
    def pay(amount: int) -> str:
        """Pays."""
        time.sleep(1.3)
        return ledger.pay(amount=amount, to="Acme")

    with pytest.raises(TimeoutError, match="timed out after 1 seconds"):
        run(crew_of(llm, pay, max_execution_time=1))

    assert ledger.amounts == [10]


def test_an_answer_after_max_execution_time_does_not_pay(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """The gate gives up with the agent, the crew stops, and the late approval runs nothing."""
    given_up = answering_once_given_up(looppause, people)
    ledger, llm = Ledger(), scripted(style, *pays(10))

    with pytest.raises((ToolExecutionFailedError, TimeoutError)):
        run(crew_of(llm, gate(ledger.tool(), looppause), max_execution_time=1))

    given_up.set()
    _until_answered(people)
    assert ledger.payments == []
    assert len(llm.asked) == 1


async def test_it_does_not_pay_on_asyncio_either(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """`akickoff` leaves the tool's thread behind; it ends without paying."""
    given_up = answering_once_given_up(looppause, people)
    ledger, llm = Ledger(), scripted(style, *pays(10))
    crew = crew_of(llm, gate(ledger.tool(), looppause), max_execution_time=1)

    with pytest.raises((ToolExecutionFailedError, TimeoutError)):
        await crew.akickoff(inputs={"bill": "invoice"})

    given_up.set()
    _until_answered(people)
    assert ledger.payments == []
    assert len(llm.asked) == 1


def test_an_answer_in_time_pays(style: str, looppause: FakeLoopPause, people: People) -> None:
    """An agent with a limit works like any other as long as people are quicker."""
    people.answering(slow_person(looppause, 0.1))
    ledger = Ledger()

    run(crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause), max_execution_time=5))

    assert ledger.amounts == [10]


def test_an_answer_taken_in_too_late_does_not_pay(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Even where the wait itself runs over, the clock is looked at once more before the tool."""
    people.answering(slow_person(looppause, 1.2))
    ledger, llm = Ledger(), scripted(style, *pays(10))
    client = client_of(
        looppause, clock=Clock(sleep=lambda _: time.sleep(0.01), monotonic=lambda: 0)
    )

    with pytest.raises((ToolExecutionFailedError, TimeoutError)):
        run(crew_of(llm, gate(ledger.tool(), looppause, client=client), max_execution_time=1))

    assert ledger.payments == []
    assert len(llm.asked) == 1


def test_a_deadline_shorter_than_the_agents_is_a_denial(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """The gate's own deadline comes first: the LLM is told, and the crew goes on."""
    ledger, llm = Ledger(), scripted(style, *pays(10))
    pay = gate(ledger.tool(), looppause, deadline_seconds=0.05)

    assert run(crew_of(llm, pay, max_execution_time=5)) == "done"

    assert ledger.payments == []
    assert "nobody answered in time" in llm.heard


def test_one_message_waits_for_eight_people_at_once(
    looppause: FakeLoopPause, people: People
) -> None:
    """CrewAI runs eight calls of a message side by side; the ninth is asked when one is done."""
    waiting: list[int] = []

    def count() -> None:
        waiting.append(sum(pause["status"] == "pending" for pause in looppause.documents()))

    first_eight = threading.Barrier(8, action=count)

    def answer(pause: dict[str, Any]) -> None:
        if pause in people.asked[:8]:
            first_eight.wait(10)
        looppause.decide(pause["pause_id"])

    people.answering(answer)
    ledger = Ledger()
    llm = scripted("native", [("pay", {"amount": amount}) for amount in range(10)])

    run(crew_of(llm, gate(ledger.tool(), looppause)))

    assert waiting == [8]
    assert sorted(ledger.amounts) == list(range(10))


def _until_answered(people: People) -> None:
    """Until everybody has answered, and the gate would have had time to act on it."""
    people.looppause.listeners.clear()
    for thread in people.threads:
        thread.join()
    time.sleep(0.1)
