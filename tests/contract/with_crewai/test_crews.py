"""Crews: whether an approval stands between a language model and what it wants to do."""

from __future__ import annotations

import json
from threading import Timer
from time import sleep
from typing import Any

import pytest

from tests.contract.claims import Claims
from tests.contract.sdks import Sdk, WallTime
from tests.contract.with_crewai.payer import Payer, ask_tool, decide, want

# crewai warns of its own parts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")

CLAIMS = Claims()

HOUR = 3600


def _outage(sdk: Sdk) -> None:
    sdk.looppause.fail_next(503, times=1000)


def _rejection(sdk: Sdk) -> None:
    decide(sdk, lambda document: sdk.looppause.decide(document["pause_id"], "rejected"))


def _timeout(sdk: Sdk) -> None:
    decide(sdk, lambda document: sdk.looppause.time_out(document["pause_id"]))


def _fallback(sdk: Sdk) -> None:
    def default(document: dict[str, Any]) -> None:
        sdk.looppause.decide(document["pause_id"], authorization_type="system_fallback")

    decide(sdk, default)


def _forgery(sdk: Sdk) -> None:
    def forge(document: dict[str, Any]) -> None:
        sdk.looppause.secret = "somebody else's"
        sdk.looppause.decide(document["pause_id"])

    decide(sdk, forge)


FAILURES = {
    "outage": _outage,
    "rejected": _rejection,
    "timed-out": _timeout,
    "fallback": _fallback,
    "forged": _forgery,
}


def _approve(sdk: Sdk, up_to: float = float("inf")) -> None:
    """A reviewer who approves what is shown to be no more than that."""

    def review(document: dict[str, Any]) -> None:
        amount = document["request"]["action"]["details"]["amount"]
        decision = "approved" if amount <= up_to else "rejected"
        sdk.looppause.decide(document["pause_id"], decision)

    decide(sdk, review)


# -- no approval, no payment ---------------------------------------------------------------------


@CLAIMS.breaks(saying=r"assert \[5\] == \[\]", cases=FAILURES)
def nothing_is_paid_without_an_approval(sdk: Sdk, failure: Any) -> None:
    """Whatever the language model makes of the answer, with native tool calls."""
    failure(sdk)
    assert Payer(sdk).insist(*want(sdk, 5)) == []


@CLAIMS.breaks(saying=r"assert \[5\] == \[\]", cases=FAILURES)
def nothing_is_paid_without_an_approval_under_react(sdk: Sdk, failure: Any) -> None:
    """The same with tool calls written as text."""
    failure(sdk)
    assert Payer(sdk, style="react").insist(*want(sdk, 5)) == []


@CLAIMS.breaks(saying=r"assert \[5\] == \[\]")
def agent_that_gave_up_pays_no_more(sdk: Sdk) -> None:
    """The approval comes after `max_execution_time`, when the agent is given up already."""
    sdk.time = WallTime()
    late: list[Timer] = []

    def approve_late(document: dict[str, Any]) -> None:
        late.append(Timer(1.3, sdk.looppause.decide, [document["pause_id"]]))
        late[-1].start()

    decide(sdk, approve_late)
    payer = Payer(sdk, agent={"max_execution_time": 1})
    payer.insist(*want(sdk, 5))
    late[-1].join()
    sleep(0.3)
    assert payer.paid == []


# -- what is approved is what happens ------------------------------------------------------------


@CLAIMS.breaks(saying=r"assert \[10000\] == \[\]")
def approval_of_10_does_not_pay_10000(sdk: Sdk) -> None:
    """The model asks about 10 and calls the tool with 10,000; its reviewer stops at 100."""
    _approve(sdk, up_to=100)
    asked = {"action_description": "Pay 10 EUR", "action_details": {"amount": 10}}
    assert Payer(sdk).insist(*want(sdk, 10_000, asked)) == []


@CLAIMS.breaks(saying="10000.* in '")
def person_reads_what_the_tool_will_get(sdk: Sdk) -> None:
    """And not what the model writes about it."""
    _rejection(sdk)
    harmless = {"action_description": "Send the newsletter", "action_details": {}}
    Payer(sdk).insist(*want(sdk, 10_000, harmless))
    [document] = sdk.looppause.documents()
    assert "10000" in json.dumps(document["request"]["action"])


# -- one approval, one payment -------------------------------------------------------------------


@CLAIMS.breaks(saying="assert 1 == 2")
def cache_answers_no_second_question(sdk: Sdk) -> None:
    """Two equal calls in one run are two questions, in a crew that caches what tools return."""
    _approve(sdk)
    Payer(sdk, cache=True).insist(*want(sdk, 5), *want(sdk, 5))
    assert sdk.looppause.creates == 2


@CLAIMS.breaks(saying="assert 1 == 2")
def second_run_asks_again(sdk: Sdk) -> None:
    """Yesterday's approval of the same payment is not today's."""
    _approve(sdk)
    paid = [Payer(sdk).insist(*want(sdk, 5)) for _ in range(2)]
    assert len(sdk.looppause.pauses) == 2
    assert paid == [[5], [5]]


@CLAIMS.breaks(saying="assert 6 == 1")
def react_asks_once(sdk: Sdk) -> None:
    """CrewAI calls a tool that raised again and again; a rejection is an answer."""
    _rejection(sdk)
    Payer(sdk, style="react").insist(*want(sdk, 5))
    assert sdk.looppause.creates == 1


# -- a rejection is an answer --------------------------------------------------------------------


@CLAIMS.breaks(RuntimeError, "authorization_type=human")
def rejection_reaches_the_model_with_its_comment(sdk: Sdk) -> None:
    """As text, from the tool both SDKs have."""
    decide(
        sdk,
        lambda document: sdk.looppause.decide(
            document["pause_id"], "rejected", comment="ask Bob first"
        ),
    )
    said = str(
        ask_tool(sdk).run(
            action_description="Pay 5 EUR", action_details={"amount": 5}, action_type="payment"
        )
    )
    assert "DENIED" in said
    assert "ask Bob first" in said


@CLAIMS.breaks(RuntimeError, "authorization_type=system_fallback")
def question_stays_open_as_long_as_it_says(sdk: Sdk) -> None:
    """Asked for 24 hours, answered after ten; 0.1.0 has it rejected by nobody after six."""

    def then() -> None:
        [document] = sdk.looppause.documents()
        if sdk.time.passed >= 10 * HOUR and document["status"] == "pending":
            sdk.looppause.decide(document["pause_id"])

    sdk.time.then = then
    said = ask_tool(sdk).run(
        action_description="Pay 5 EUR", action_details={"amount": 5}, action_type="payment"
    )
    assert "APPROVED" in str(said)


test_we_hold, test_published_breaks = CLAIMS.tests()
