"""Where no decision can be had, nothing runs and the crew stops, whatever the fault is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from crewai.tools import BaseTool, ToolExecutionFailedError, ToolFailure

from looppause_sdk.crewai import HumanApprovalTool
from looppause_sdk.testing import FakeLoopPause, Reply, sign_proof
from tests.crews import Ledger, People, agent_of, client_of, crew_of, gate, pays, run, scripted

HTML = Reply(502, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>")
LOGIN = Reply(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>")
NOT_JSON = Reply(200, {"Content-Type": "application/json"}, b'{"pause_id": ')
NO_PAUSE = Reply(200, {"Content-Type": "application/json"}, b'{"status": "ok"}')
MANY = 100


@dataclass
class World:
    """What a fault can be worked on."""

    looppause: FakeLoopPause
    people: People
    transport: httpx.BaseTransport | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> Any:
        transport = self.transport or self.looppause.transport
        return client_of(self.looppause, http_client=httpx.Client(transport=transport))


def replying(reply: Reply) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.looppause.faults += [reply] * MANY

    return arrange


def failing(status: int) -> Callable[[World], None]:
    return lambda world: world.looppause.fail_next(status, times=MANY)


def raising(error: type[httpx.TransportError]) -> Callable[[World], None]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("the network is gone", request=request)

    def arrange(world: World) -> None:
        world.transport = httpx.MockTransport(answer)

    return arrange


def answering(body: Callable[[World, dict[str, Any]], Any]) -> Callable[[World], None]:
    """Each look at the pause finds this instead of what LoopPause would say."""

    def arrange(world: World) -> None:
        def answer(pause: dict[str, Any]) -> None:
            reply = httpx.Response(200, json=body(world, pause)).content
            world.looppause.faults += [Reply(200, {"Content-Type": "application/json"}, reply)]

        world.people.answering(answer)

    return arrange


def approval(pause: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "pause_id": pause["pause_id"],
        "status": "responded",
        "decision": "approved",
        "authorization_type": "human",
        "human_response": True,
        "responder": "alice@example.com",
        "responded_at": "2025-01-01T00:00:00Z",
        **changed,
    }


def forged(_: World, pause: dict[str, Any]) -> Any:
    return sign_proof(approval(pause), secret="not LoopPause's")


def unsigned(_: World, pause: dict[str, Any]) -> Any:
    return approval(pause)


def foreign(world: World, pause: dict[str, Any]) -> Any:
    return world.looppause.sign(approval({"pause_id": "pause_of_somebody_else"}))


def odd_types(world: World, pause: dict[str, Any]) -> Any:
    return world.looppause.sign(approval(pause, human_response="false"))


def down_after_asking(world: World) -> None:
    world.settings = {"deadline_seconds": 0.05}
    world.people.answering(lambda _: world.looppause.fail_next(503, times=10_000))


FAULTS = {
    "no connection": (raising(httpx.ConnectError), "LoopPauseUnavailable"),
    "timeout": (raising(httpx.ReadTimeout), "LoopPauseUnavailable"),
    "400": (failing(400), "LoopPauseRequestError"),
    "401": (failing(401), "LoopPauseRequestError"),
    "429": (failing(429), "LoopPauseUnavailable"),
    "503": (failing(503), "LoopPauseUnavailable"),
    "HTML for 502": (replying(HTML), "LoopPauseUnavailable"),
    "HTML for 200": (replying(LOGIN), "LoopPauseUnavailable"),
    "not JSON": (replying(NOT_JSON), "LoopPauseUnavailable"),
    "no pause id": (replying(NO_PAUSE), "LoopPauseUnavailable"),
    "down after asking": (down_after_asking, "LoopPauseUnavailable"),
    "forged": (answering(forged), "ProofInvalid"),
    "unsigned": (answering(unsigned), "ProofInvalid"),
    "foreign": (answering(foreign), "ProofInvalid"),
    "human_response as text": (answering(odd_types), "ProofMalformed"),
}

faults = pytest.mark.parametrize(("arrange", "code"), FAULTS.values(), ids=FAULTS)


@faults
def test_the_crew_stops_and_nothing_is_paid(
    style: str,
    looppause: FakeLoopPause,
    people: People,
    arrange: Callable[[World], None],
    code: str,
) -> None:
    """The gated tool does not run, no later tool runs, the LLM is not asked again."""
    world, ledger = World(looppause, people), Ledger()
    arrange(world)
    llm = scripted(style, *pays(10), [("wire", {"amount": 10})])
    tool = gate(ledger.tool(), looppause, client=world.client, **world.settings)

    with pytest.raises(ToolExecutionFailedError, match="pay got no decision") as caught:
        run(crew_of(llm, tool, ledger.tool("wire")))

    assert caught.value.record.failure.code == code
    assert ledger.payments == []
    assert len(llm.asked) == 1


@faults
def test_the_asking_tool_stops_the_crew_as_well(
    style: str,
    looppause: FakeLoopPause,
    people: People,
    arrange: Callable[[World], None],
    code: str,
) -> None:
    """0.1.0 raised, CrewAI made text of it, and the crew went on and paid."""
    world, ledger = World(looppause, people), Ledger()
    arrange(world)
    ask = HumanApprovalTool(slack_channel="#finance", client=world.client, **world.settings)
    question = {"action_description": "Pay 10", "action_details": {"amount": 10}}
    llm = scripted(style, [("request_human_approval", question)], *pays(10))

    with pytest.raises(ToolExecutionFailedError, match="request_human_approval got no decision"):
        run(crew_of(llm, ask, ledger.tool()))

    assert ledger.payments == []
    assert len(llm.asked) == 1


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"when": lambda args: args["missing"]}, "missing"),
        ({"when": lambda _: "yes"}, "must return True or False"),
        ({"description": lambda _: 1 / 0}, "division by zero"),
        ({"recipients": lambda _: []}, "recipients"),
        ({"recipients": lambda _: [{"channel": object()}]}, "plain JSON"),
        ({"timeout_hours": -1}, "timeout_hours"),
    ],
    ids=["when raises", "when says neither", "description", "nobody", "not JSON", "timeout"],
)
def test_a_setting_that_cannot_be_used_stops_the_crew(
    style: str, looppause: FakeLoopPause, people: People, settings: dict[str, Any], reason: str
) -> None:
    """What the author's own callables raise is no approval, and no text for the LLM either."""
    ledger, llm = Ledger(), scripted(style, *pays(10))

    with pytest.raises(ToolExecutionFailedError, match=reason):
        run(crew_of(llm, gate(ledger.tool(), looppause, **settings)))

    assert ledger.payments == []
    assert len(llm.asked) == 1


def test_an_argument_that_cannot_be_shown_stops_the_crew(looppause: FakeLoopPause) -> None:
    """Nobody can approve what cannot be written down."""

    class Open(BaseTool):
        name: str = "open"
        description: str = "Opens."

        def _run(self, **anything: Any) -> str:
            raise AssertionError(f"it ran: {anything}")

    failure = gate(Open(), looppause).run(door=object())

    assert isinstance(failure, ToolFailure)
    assert "plain JSON" in failure.message


def test_the_error_of_kickoff_says_what_to_do_and_holds_no_key(
    looppause: FakeLoopPause,
) -> None:
    """The reason reaches whoever kicked the crew off; the API key does not."""
    looppause.fail_next(401, times=MANY)

    with pytest.raises(ToolExecutionFailedError, match="Check LOOPPAUSE_API_KEY") as caught:
        run(crew_of(scripted("native", *pays(10)), gate(Ledger().tool(), looppause)))

    assert "key-of-the-api" not in str(caught.value) + repr(caught.value.record)


def test_one_outage_stops_a_message_with_several_calls(
    looppause: FakeLoopPause, people: People
) -> None:
    """The others of the message are still answered by people, and then the crew stops."""
    answered = threading.Event()

    def answer(pause: dict[str, Any]) -> None:
        if len(people.asked) == 2:
            looppause.faults += [Reply(401, {}, b"{}")]
        answered.set()

    people.answering(answer)
    ledger = Ledger()
    llm = scripted("native", [("pay", {"amount": 1}), ("pay", {"amount": 2})], *pays(3))
    tool = gate(ledger.tool(), looppause, deadline_seconds=0.5)

    with pytest.raises(ToolExecutionFailedError, match="LoopPause refused"):
        run(crew_of(llm, tool))

    assert answered.is_set()
    assert ledger.payments == []
    assert len(llm.asked) == 1


@pytest.mark.parametrize("policy", ["ignore", "warn"])
def test_no_policy_of_others_lets_the_crew_go_on(
    style: str, looppause: FakeLoopPause, policy: str
) -> None:
    """Whatever the tool, the agent and the crew make of failures, an outage stops them."""
    looppause.fail_next(503, times=MANY)
    ledger, llm = Ledger(), scripted(style, *pays(10))
    tool = gate(ledger.tool(tool_failure_policy=policy), looppause)
    crew = {"tool_failure_policy": policy}

    with pytest.raises(ToolExecutionFailedError):
        run(crew_of(llm, tool, tool_failure_policy=policy, crew=crew))

    assert ledger.payments == []


@pytest.mark.parametrize("kickoff", ["kickoff_async", "akickoff"])
async def test_a_crew_on_asyncio_stops_too(
    style: str, looppause: FakeLoopPause, kickoff: str
) -> None:
    """Both ways to kick off a crew from a coroutine raise."""
    looppause.fail_next(503, times=MANY)
    ledger, llm = Ledger(), scripted(style, *pays(10))

    with pytest.raises(ToolExecutionFailedError, match="pay got no decision"):
        await getattr(crew_of(llm, gate(ledger.tool(), looppause)), kickoff)({"bill": "x"})

    assert ledger.payments == []
    assert len(llm.asked) == 1


def test_an_agent_alone_stops_too(style: str, looppause: FakeLoopPause) -> None:
    """`Agent.kickoff` raises as a crew does."""
    looppause.fail_next(503, times=MANY)
    ledger, llm = Ledger(), scripted(style, *pays(10))
    member = agent_of(llm, gate(ledger.tool(), looppause))

    with pytest.raises(ToolExecutionFailedError, match="pay got no decision"):
        member.kickoff("pay")

    assert ledger.payments == []
    assert len(llm.asked) == 1


def test_after_an_outage_the_same_crew_works_again(
    style: str, looppause: FakeLoopPause, people: People
) -> None:
    """Nothing of a failed run is left in the tool."""
    people.deciding("approved")
    ledger = Ledger()
    crew = crew_of(scripted(style, *pays(10)), gate(ledger.tool(), looppause))
    looppause.fail_next(401)

    with pytest.raises(ToolExecutionFailedError):
        run(crew)

    assert run(crew) == "done"
    assert ledger.amounts == [10]
