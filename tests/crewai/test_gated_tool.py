"""What `gated` takes, what it refuses, and what it shows of itself."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import httpx
import pytest
from crewai.tools import BaseTool, EnvVar, ToolFailure, ToolFailurePolicy
from crewai.tools.structured_tool import CrewStructuredTool
from crewai.utilities.agent_utils import convert_tools_to_openai_schema
from langchain_core.tools import tool as langchain_tool

from looppause_sdk import AsyncLoopPauseClient, LoopPauseConfigError
from looppause_sdk.crewai import HumanApprovalTool, gated
from looppause_sdk.testing import FakeLoopPause
from tests.crews import (
    RECIPIENTS,
    Ledger,
    Payment,
    People,
    client_of,
    crew_of,
    gate,
    pays,
    run,
    scripted,
)


def test_the_llm_sees_the_tool_it_always_saw(looppause: FakeLoopPause) -> None:
    """Name, description and arguments are the tool's, for function calling and as text."""
    bare = Ledger().tool()
    made = gate(bare, looppause)

    assert convert_tools_to_openai_schema([made])[0] == convert_tools_to_openai_schema([bare])[0]
    assert made.formatted_description == bare.formatted_description
    assert made.to_structured_tool().formatted_description == bare.formatted_description


def test_the_tools_settings_are_kept(looppause: FakeLoopPause) -> None:
    """All but the cache: that would give one call's answer to another."""
    settings: dict[str, Any] = {
        "result_as_answer": True,
        "max_usage_count": 3,
        "current_usage_count": 1,
        "tool_failure_policy": ToolFailurePolicy.WARN,
        "result_schema": Payment,
        "env_vars": [EnvVar(name="BANK", description="The bank.")],
    }
    made = gate(Ledger().tool(**settings), looppause)

    assert {name: getattr(made, name) for name in settings} == settings
    assert made.cache_function({}, "paid") is False


def test_nothing_it_shows_holds_the_client(looppause: FakeLoopPause) -> None:
    """Neither the API key nor the signing secret is in a repr, a dump or a schema."""
    made = gate(Ledger().tool(), looppause)

    dump = made.model_dump(exclude={"args_schema", "result_schema", "cache_function"})
    shown = [
        repr(made),
        str(made),
        repr(dump),
        made.model_dump_json(),
        repr(made.__pydantic_private__),
    ]
    shown.append(json.dumps(made.model_json_schema(mode="serialization")))

    for text in shown:
        assert "key-of-the-api" not in text
        assert looppause.secret not in text


def test_it_cannot_be_pickled(looppause: FakeLoopPause) -> None:
    """A pickle would hold the keys, so there is none."""
    with pytest.raises(TypeError):
        pickle.dumps(gate(Ledger().tool(), looppause))


def test_a_copy_is_gated_too(looppause: FakeLoopPause, people: People) -> None:
    """CrewAI copies agents with their tools."""
    people.deciding("rejected")
    ledger = Ledger()
    made = gate(ledger.tool(), looppause)

    for twin in (copy.copy(made), made.model_copy(), made.model_copy(update={"name": "wire"})):
        assert twin.run(amount=10).startswith("DENIED")

    assert ledger.payments == []


def test_a_tool_restored_from_a_checkpoint_does_not_run(looppause: FakeLoopPause) -> None:
    """A checkpoint holds no client, so what comes out of one asks nobody and runs nothing."""
    made = gate(Ledger().tool(), looppause)
    stored = made.model_dump(mode="json") | {"cache_function": made.cache_function}

    failure = type(made).model_validate(stored).run(amount=10)

    assert isinstance(failure, ToolFailure)
    assert "make it again with gated(...)" in failure.message


async def test_a_restored_tool_does_not_arun_either(looppause: FakeLoopPause) -> None:
    """The same for `arun`."""
    made = gate(Ledger().tool(), looppause)
    stored = made.model_dump(mode="json") | {"cache_function": made.cache_function}

    assert isinstance(await type(made).model_validate(stored).arun(amount=10), ToolFailure)


def test_a_structured_tool_is_gated_with_its_settings(
    looppause: FakeLoopPause, people: People
) -> None:
    """`CrewStructuredTool` has a `func` and becomes a tool around it."""
    people.deciding("approved")
    ledger = Ledger()
    structured = CrewStructuredTool(
        name="pay", description="Pays.", args_schema=Payment, func=ledger.pay, result_as_answer=True
    )
    made = gate(structured, looppause)

    assert made.run(amount="10") == "paid 10 to Acme"
    assert made.result_as_answer is True
    assert people.amounts == [10]


def test_a_langchain_tool_is_gated(style: str, looppause: FakeLoopPause, people: People) -> None:
    """What an agent's `tools` would take, `gated` takes."""
    people.deciding("approved")
    ledger = Ledger()

    @langchain_tool
    def pay(amount: int) -> str:
        """Pays."""
        return ledger.pay(amount=amount, to="Acme")

    run(crew_of(scripted(style, *pays(10)), gate(pay, looppause)))

    assert people.amounts == [10]
    assert ledger.amounts == [10]


@pytest.mark.parametrize(
    "thing", [print, "pay", None, object(), BaseTool], ids=lambda thing: type(thing).__name__
)
def test_what_is_no_tool_is_refused(looppause: FakeLoopPause, thing: Any) -> None:
    """The error says how to make a tool."""
    with pytest.raises(LoopPauseConfigError, match=r"decorate a function with crewai\.tools\.tool"):
        gate(thing, looppause)


def test_a_gated_tool_needs_no_second_gate(looppause: FakeLoopPause) -> None:
    """Nobody is asked twice about one call."""
    with pytest.raises(LoopPauseConfigError, match="pay asks a person already"):
        gate(gate(Ledger().tool(), looppause), looppause)


def test_the_asking_tool_needs_no_gate(looppause: FakeLoopPause) -> None:
    """Nobody is asked whether somebody may be asked."""
    ask = HumanApprovalTool(slack_channel="#finance", client=client_of(looppause))

    with pytest.raises(LoopPauseConfigError, match="asks a person already"):
        gate(ask, looppause)


async def test_an_async_client_is_refused(looppause: FakeLoopPause) -> None:
    """It would need an event loop in each tool's thread; the error names the client to use."""
    http = httpx.AsyncClient(transport=looppause.async_transport)
    client = AsyncLoopPauseClient("key", looppause.secret, http_client=http, env={})

    with pytest.raises(LoopPauseConfigError, match="use LoopPauseClient, also with kickoff_async"):
        gate(Ledger().tool(), looppause, client=client)


def test_a_foreign_client_is_refused(looppause: FakeLoopPause) -> None:
    """Anything else could say yes by itself."""
    with pytest.raises(LoopPauseConfigError, match=r"not builtins\.dict"):
        gate(Ledger().tool(), looppause, client={"base_url": "https://example.com"})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"agent_id": ""}, "needs agent_id"),
        ({"recipients": []}, "needs recipients"),
        ({"fields": "amount"}, "must be a list of names"),
        ({"fields": ["amount", "sum"]}, "fields names sum, but pay takes amount, to"),
        ({"deadline_seconds": 0}, "deadline_seconds must be above 0"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds must be above 0"),
        ({"deadline_seconds": "soon"}, "must be a number of seconds"),
        ({"deadline_seconds": True}, "must be a number of seconds"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_once(
    looppause: FakeLoopPause, settings: dict[str, Any], message: str
) -> None:
    """Not only when the first call comes."""
    with pytest.raises(LoopPauseConfigError, match=message):
        gate(Ledger().tool(), looppause, **settings)


def test_the_webhook_of_the_environment_is_asked_for(people: People) -> None:
    """Without `webhook_url` the client's own is used, so that the receiver has the proof."""
    people.deciding("approved")
    client = client_of(
        people.looppause, env={"LOOPPAUSE_WEBHOOK_URL": "https://agent.example/hook"}
    )

    gated(Ledger().tool(), client, agent_id="a", recipients=RECIPIENTS).run(amount=1)

    assert people.asked[0]["request"]["webhook_url"] == "https://agent.example/hook"


def test_positional_arguments_that_fit_nowhere_run_nothing(looppause: FakeLoopPause) -> None:
    """By hand, too many or double arguments are refused before anybody is asked."""
    ledger = Ledger()
    made = gate(ledger.tool(), looppause)

    for failure in (made.run(1, "Acme", "more"), made.run(1, amount=2), made.run("a lot")):
        assert isinstance(failure, ToolFailure)

    assert looppause.documents() == []
    assert ledger.payments == []
