"""`HumanApprovalTool`: 0.1.0's constructor and input, and an answer that says who and when."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from crewai.tools import ToolFailure
from crewai.tools.base_tool import BaseTool

from looppause_sdk import AsyncLoopPauseClient, LoopPauseConfigError
from looppause_sdk.crewai import HumanApprovalInput, HumanApprovalTool
from looppause_sdk.testing import FakeLoopPause
from tests.crews import Ledger, People, client_of, crew_of, pays, run, scripted

QUESTION = {
    "action_description": "Pay 10 EUR to Acme",
    "action_details": {"amount": 10},
    "action_type": "payment",
}


def asking(looppause: FakeLoopPause, **settings: Any) -> HumanApprovalTool:
    return HumanApprovalTool(
        **{"slack_channel": "#finance", "client": client_of(looppause), **settings}
    )


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("API_KEY", "SIGNING_SECRET", "SIGNING_SECRETS", "PUBLIC_KEYS", "API_URL"):
        monkeypatch.delenv(f"LOOPPAUSE_{name}", raising=False)
    return monkeypatch


def test_an_approval_says_who_when_and_which_pause(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """The LLM is told APPROVED, for this action only."""
    people.deciding("approved", comment="fine", fields={"cost_centre": "7"})
    llm = scripted(style, [("request_human_approval", QUESTION)])

    run(crew_of(llm, asking(looppause)))

    [asked] = people.asked
    proof = looppause.get(asked["pause_id"])
    assert asked["request"]["action"] == {
        "type": "payment",
        "description": "Pay 10 EUR to Acme",
        "details": {"amount": 10},
    }
    assert (
        f"APPROVED by alice@example.com at {proof['responded_at']} (pause {asked['pause_id']}). "
        'The reviewer wrote: "fine". The reviewer filled in: {"cost_centre": "7"}. '
        "This approves only, and only once: Pay 10 EUR to Acme"
    ) in llm.heard


@pytest.mark.parametrize(
    "answer, reason",
    [
        ({"decision": "rejected", "comment": "too dear"}, 'The reviewer wrote: "too dear"'),
        ({"authorization_type": "system_fallback"}, "a configured default is no approval"),
    ],
    ids=["rejected", "fallback"],
)
def test_a_denial_is_told_with_the_comment(
    style: str, looppause: FakeLoopPause, people: People, answer: dict[str, Any], reason: str
) -> None:
    """DENIED, why, and the crew goes on."""
    people.deciding(**answer)
    llm = scripted(style, [("request_human_approval", QUESTION)])

    assert run(crew_of(llm, asking(looppause))) == "done"

    assert "DENIED: do not do it, because" in llm.heard
    assert reason in llm.heard


@pytest.mark.parametrize("how", ["time_out", "expire"])
def test_nobody_answering_is_a_denial(looppause: FakeLoopPause, people: People, how: str) -> None:
    """A pause that ends unanswered approves nothing."""
    people.answering(lambda pause: getattr(looppause, how)(pause["pause_id"]))

    assert asking(looppause).run(**QUESTION).startswith("DENIED")


async def test_arun_asks_as_well(looppause: FakeLoopPause, people: People) -> None:
    """By hand from a coroutine."""
    people.deciding("approved")

    assert (await asking(looppause).arun(**QUESTION)).startswith("APPROVED")


def test_a_description_is_enough(looppause: FakeLoopPause, people: People) -> None:
    """Details and type have 0.1.0's defaults."""
    people.deciding("approved")

    asking(looppause).run(action_description="Pay")

    action = people.asked[0]["request"]["action"]
    assert action == {"type": "agent_action", "description": "Pay", "details": {}}


def test_an_empty_description_asks_nobody(looppause: FakeLoopPause) -> None:
    """A person who is shown nothing cannot approve it."""
    with pytest.raises(ValueError, match="validation failed"):
        asking(looppause).run(action_description="")

    assert looppause.documents() == []


def test_a_denied_llm_that_pays_all_the_same_shows_why_gated_is_better(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """What the docstring warns of: asked about 10, the other tool pays 10,000."""
    people.deciding("approved")
    ledger = Ledger()
    llm = scripted(style, [("request_human_approval", QUESTION)], *pays(10_000))

    run(crew_of(llm, asking(looppause), ledger.tool()))

    assert people.amounts == [10]
    assert ledger.amounts == [10_000]
    assert "nothing ties an approval" in " ".join((HumanApprovalTool.__doc__ or "").split())


@pytest.mark.parametrize(
    "settings, recipient",
    [
        (
            {"slack_channel": "#a", "fallback_email": "a@example.com"},
            {"channel": "slack", "target": "#a", "fallback_email": "a@example.com"},
        ),
        ({"slack_channel": "#a"}, {"channel": "slack", "target": "#a"}),
        (
            {"slack_channel": None, "fallback_email": "a@example.com"},
            {"channel": "email", "target": "a@example.com"},
        ),
        (
            {
                "slack_channel": None,
                "recipients": ({"channel": "email", "target": "b@example.com"},),
            },
            {"channel": "email", "target": "b@example.com"},
        ),
    ],
    ids=["both", "slack", "email", "recipients"],
)
def test_who_is_asked(
    looppause: FakeLoopPause, people: People, settings: dict[str, Any], recipient: Any
) -> None:
    """0.1.0's two arguments, or recipients as LoopPause takes them."""
    people.deciding("approved")

    asking(looppause, **settings).run(**QUESTION)

    assert people.asked[0]["request"]["recipients"] == [recipient]


def test_the_other_settings_reach_looppause(looppause: FakeLoopPause, people: People) -> None:
    """Agent, timeout, webhook, escalation and form."""
    people.deciding("approved")
    settings: dict[str, Any] = {
        "agent_id": "buyer",
        "timeout_hours": 2,
        "webhook_url": "https://agent.example/hook",
        "escalation": {"after_hours": 1, "fallback_action": "auto_reject"},
        "form": {"fields": []},
    }

    asking(looppause, **settings).run(**QUESTION)

    request = people.asked[0]["request"]
    assert {name: request[name] for name in settings} == settings


def test_the_defaults_are_those_of_0_1_0(looppause: FakeLoopPause) -> None:
    """Whoever moves on finds the same attributes."""
    tool = asking(looppause)

    assert (tool.agent_id, tool.require_human, tool.timeout_hours) == ("crewai-agent", True, 24)
    assert (tool.slack_channel, tool.fallback_email) == ("#finance", None)
    assert tool.name == "request_human_approval"
    assert set(HumanApprovalInput.model_fields) == {
        "action_description",
        "action_details",
        "action_type",
    }


def test_its_environment_is_declared() -> None:
    """CrewAI reads `env_vars` to say what a tool needs."""
    made = HumanApprovalTool.model_fields["env_vars"].get_default(call_default_factory=True)

    assert [variable.name for variable in made if variable.required] == ["LOOPPAUSE_API_KEY"]
    assert {"LOOPPAUSE_SIGNING_SECRET", "LOOPPAUSE_API_URL"} <= {v.name for v in made}


def test_a_client_is_made_from_the_environment(no_environment: pytest.MonkeyPatch) -> None:
    """As in 0.1.0, and with another address where one is given."""
    no_environment.setenv("LOOPPAUSE_API_KEY", "a-key")
    no_environment.setenv("LOOPPAUSE_SIGNING_SECRET", "a-secret")

    tool = HumanApprovalTool(fallback_email="a@example.com", base_url="http://localhost:8100")

    assert tool._client.base_url == "http://localhost:8100"
    assert tool._client.api_key == "a-key"


def test_all_that_is_missing_is_named_at_once(no_environment: pytest.MonkeyPatch) -> None:
    """One error, not one for each attempt."""
    with pytest.raises(LoopPauseConfigError) as caught:
        HumanApprovalTool()

    for name in ("slack_channel", "LOOPPAUSE_API_KEY", "LOOPPAUSE_SIGNING_SECRET"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"chanel": "#finance"}, "has no argument chanel"),
        ({"_client": None}, "has no argument _client"),
        ({"base_url": "http://localhost"}, "base_url is the client's own"),
        ({"client": {}}, "not builtins.dict"),
        ({"slack_channel": None}, "nobody to ask"),
        ({"deadline_seconds": -1}, "deadline_seconds must be above 0"),
    ],
)
def test_what_cannot_be_used_is_refused(
    looppause: FakeLoopPause, settings: dict[str, Any], message: str
) -> None:
    """Unknown arguments too: 0.1.0 dropped a misspelt one without a word."""
    with pytest.raises(LoopPauseConfigError, match=message):
        asking(looppause, **settings)


async def test_an_async_client_is_refused(looppause: FakeLoopPause) -> None:
    """As by `gated`."""
    http = httpx.AsyncClient(transport=looppause.async_transport)
    client = AsyncLoopPauseClient("key", looppause.secret, http_client=http, env={})

    with pytest.raises(LoopPauseConfigError, match="use LoopPauseClient"):
        asking(looppause, client=client)


def test_no_cache_function_is_taken(looppause: FakeLoopPause) -> None:
    """Whoever brings one gets none: an answer is never given twice."""
    tool = asking(looppause, cache_function=lambda *_: True)

    assert tool.cache_function({}, "APPROVED") is False


def test_name_and_description_may_be_changed(looppause: FakeLoopPause) -> None:
    """What every CrewAI tool takes, this one takes."""
    tool = asking(looppause, name="ask_finance", description="Asks finance.")

    assert isinstance(tool, BaseTool)
    assert (tool.name, tool.description) == ("ask_finance", "Asks finance.")


def test_nothing_it_shows_holds_the_client(looppause: FakeLoopPause) -> None:
    """Neither key nor secret."""
    tool = asking(looppause)
    shown = repr(tool) + str(tool) + tool.model_dump_json()

    assert "key-of-the-api" not in shown
    assert looppause.secret not in shown


def test_it_comes_back_from_a_checkpoint(
    no_environment: pytest.MonkeyPatch, looppause: FakeLoopPause
) -> None:
    """Restored, it makes its client from the environment again, and keeps its settings."""
    no_environment.setenv("LOOPPAUSE_API_KEY", "a-key")
    no_environment.setenv("LOOPPAUSE_SIGNING_SECRET", "a-secret")
    stored = asking(looppause, timeout_hours=2).model_dump(mode="json")

    again = HumanApprovalTool.model_validate(stored)

    assert (again.slack_channel, again.timeout_hours) == ("#finance", 2)
    assert again._client.api_key == "a-key"


def test_an_outage_by_hand_is_a_failure(looppause: FakeLoopPause) -> None:
    """`run` returns what stops a crew."""
    looppause.fail_next(401)

    assert isinstance(asking(looppause).run(**QUESTION), ToolFailure)
