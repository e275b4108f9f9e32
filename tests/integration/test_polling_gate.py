"""The polling gate: it asks, waits in place, and fails closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from looppause_sdk import LoopPauseConfigError, LoopPauseUnavailable, ProofInvalid
from looppause_sdk.client import Clock
from looppause_sdk.testing import FakeLoopPause
from tests.agents import State, action_of, client_of, on
from tests.fan_out import fan_out
from tests.gates import async_client_of, one_node, polling

START_OF_TIME = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class VirtualTime:
    """Passes only while somebody waits; `then` happens at the end of each wait."""

    then: Callable[[], Any] = lambda: None
    passed: float = 0.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.waits.append(seconds)
        self.then()

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)

    def now(self) -> datetime:
        return START_OF_TIME + timedelta(seconds=self.passed)

    def clock(self) -> Clock:
        return Clock(
            sleep=self.sleep, asleep=self.asleep, monotonic=lambda: self.passed, now=self.now
        )


@dataclass
class Polled:
    """A LoopPause and an agent that waits there, sync or async, in virtual time."""

    looppause: FakeLoopPause
    time: VirtualTime
    make_client: Any

    async def run(self, **settings: Any) -> Any:
        """Run the agent to its end and return the gate's result."""
        self.looppause.clock = self.time.now
        client = self.make_client(self.looppause, clock=self.time.clock(), max_attempts=1)
        state = await one_node(polling(client, **settings)).ainvoke({"amount": 5})
        return state["looppause"]

    def when_it_waits(self, act: Callable[[str], Any]) -> None:
        """Do something to the pause, once, while the gate waits."""

        def then() -> None:
            self.time.then = lambda: None
            act(*self.looppause.pauses)

        self.time.then = then


@pytest.fixture(params=[client_of, async_client_of], ids=["sync", "async"])
def polled(request: pytest.FixtureRequest, looppause: FakeLoopPause) -> Polled:
    """With each kind of client."""
    return Polled(looppause, VirtualTime(), request.param)


async def test_it_waits_for_the_approval(polled: Polled) -> None:
    """The answer that comes during the wait is the gate's result, with all that was said."""
    polled.when_it_waits(lambda pause: polled.looppause.decide(pause, fields={"po": 7}))
    result = await polled.run()
    assert (result["approved"], result["fields"], result["halt_reason"]) == (True, {"po": 7}, None)
    assert result["action"] == action_of({"amount": 5})


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda fake, pause: fake.decide(pause, "rejected"), "rejected"),
        (
            lambda fake, pause: fake.decide(pause, authorization_type="system_fallback"),
            "system_fallback",
        ),
        (lambda fake, pause: fake.expire(pause), "expired"),
        (lambda fake, pause: fake.time_out(pause), "timed_out"),
    ],
    ids=["rejected", "fallback", "expired", "timed out"],
)
async def test_whatever_else_comes_halts(
    polled: Polled, act: Callable[[FakeLoopPause, str], Any], reason: str
) -> None:
    """A denial is a result that says why."""
    polled.when_it_waits(lambda pause: act(polled.looppause, pause))
    result = await polled.run()
    assert (result["approved"], result["halt_reason"]) == (False, reason)


async def test_a_fallback_opens_where_no_human_is_required(polled: Polled) -> None:
    """As with the interrupt gate."""
    polled.when_it_waits(
        lambda pause: polled.looppause.decide(pause, authorization_type="system_fallback")
    )
    assert (await polled.run(require_human=False))["approved"] is True


async def test_it_gives_up_at_its_deadline(polled: Polled) -> None:
    """The pause stays open at LoopPause, but this gate has closed."""
    result = await polled.run(deadline_seconds=60)
    assert (result["approved"], result["halt_reason"]) == (False, "deadline")
    assert result["pause_id"] in polled.looppause.pauses
    assert polled.time.passed == 60


async def test_without_a_deadline_it_waits_as_long_as_the_pause_lives(polled: Polled) -> None:
    """The pause's own timeout ends it, and says so."""
    result = await polled.run(timeout_hours=0.5)
    assert (result["approved"], result["halt_reason"]) == (False, "timed_out")
    assert 1800 <= polled.time.passed < 1860


async def test_an_outage_while_asking_raises(polled: Polled) -> None:
    """No decision was made: the caller has to know that it was not a no."""
    polled.looppause.fail_next()
    with pytest.raises(LoopPauseUnavailable):
        await polled.run()


async def test_an_outage_until_the_deadline_raises(polled: Polled) -> None:
    """Nobody knows whether somebody answered."""
    polled.when_it_waits(lambda _: polled.looppause.fail_next(times=100))
    with pytest.raises(LoopPauseUnavailable):
        await polled.run(deadline_seconds=60)


async def test_an_outage_that_passes_is_waited_out(polled: Polled) -> None:
    """The answer given meanwhile is found."""

    def fail_and_decide(pause: str) -> None:
        polled.looppause.fail_next(times=3)
        polled.looppause.decide(pause)

    polled.when_it_waits(fail_and_decide)
    assert (await polled.run())["approved"] is True


async def test_a_proof_that_is_not_genuine_raises(polled: Polled) -> None:
    """A LoopPause that signs with a key we do not know decides nothing."""

    def forge(pause: str) -> None:
        polled.looppause.secret = "not the secret"
        polled.looppause.decide(pause)

    polled.when_it_waits(forge)
    with pytest.raises(ProofInvalid):
        await polled.run()


async def test_an_action_that_cannot_be_shown_is_not_asked(polled: Polled) -> None:
    """As with the interrupt gate."""
    with pytest.raises(LoopPauseConfigError, match="the action must be plain JSON"):
        await polled.run(action_builder=lambda _: {"tags": {1, 2}})
    assert not polled.looppause.pauses


def test_it_can_be_called_without_a_graph(looppause: FakeLoopPause) -> None:
    """A plain function over a dict, as in 0.1.0; each call is a question of its own."""
    looppause.listeners.append(_approve_at_once(looppause))
    gate = polling(client_of(looppause))
    results = [gate({"amount": 5})["looppause"] for _ in range(2)]
    assert [result["approved"] for result in results] == [True, True]
    assert len(looppause.pauses) == 2


def test_a_retry_of_the_node_asks_nothing_new(looppause: FakeLoopPause) -> None:
    """The pause outlives an outage between asking and looking."""

    def fail_after_asking(document: dict[str, Any]) -> None:
        if document["status"] == "pending":
            looppause.fail_next()
            looppause.decide(document["pause_id"])

    looppause.listeners.append(fail_after_asking)
    time = VirtualTime()
    gate = polling(client_of(looppause, clock=time.clock(), max_attempts=1), deadline_seconds=0)
    builder: Any = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=LoopPauseUnavailable)
    builder.add_node("gate", gate, retry_policy=policy)
    builder.add_edge(START, "gate")
    state = builder.compile().invoke({"amount": 5})
    assert (state["looppause"]["approved"], len(looppause.pauses)) == (True, 1)


def test_each_pass_and_each_branch_asks_for_itself(looppause: FakeLoopPause) -> None:
    """Equal actions, on one thread or side by side, are questions of their own."""
    looppause.listeners.append(_approve_at_once(looppause))
    graph = fan_out(polling(client_of(looppause)), [5, 5], InMemorySaver())
    for _ in range(2):
        state = graph.invoke({}, on("t"))
    assert len({result["pause_id"] for result in state["looppause"]}) == 4


async def test_two_people_asked_at_once_are_two_questions(looppause: FakeLoopPause) -> None:
    """Side by side in one node: the approval of one is not the approval of the other."""
    looppause.listeners.append(_approve_at_once(looppause))
    client = async_client_of(looppause)
    other = [{"channel": "email", "target": "cfo@acme.example"}]
    first, second = polling(client), polling(client, recipients=other, state_key="second")

    async def both(state: State) -> Any:
        one, two = await asyncio.gather(first(state), second(state))
        return {**one, **two}

    state = await one_node(both).ainvoke({"amount": 5})
    assert state["looppause"]["pause_id"] != state["second"]["pause_id"]


async def test_fifty_async_gates_hold_no_thread(looppause: FakeLoopPause) -> None:
    """They wait together in one event loop, and each gets its own answer."""

    async def often(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))

    gate = polling(async_client_of(looppause, clock=Clock(asleep=often)))
    graph = one_node(gate)
    before = threading.active_count()
    runs = [asyncio.create_task(graph.ainvoke({"amount": amount})) for amount in range(50)]
    while len(looppause.pauses) < 50:
        await asyncio.sleep(0.005)
    assert threading.active_count() == before
    for pause_id in list(looppause.pauses):
        looppause.decide(pause_id)
    states = await asyncio.gather(*runs)
    assert [state["looppause"]["action"] for state in states] == [
        action_of({"amount": amount}) for amount in range(50)
    ]
    assert all(state["looppause"]["approved"] for state in states)


def _approve_at_once(looppause: FakeLoopPause) -> Callable[[dict[str, Any]], None]:
    def listener(document: dict[str, Any]) -> None:
        if document["status"] == "pending":
            looppause.decide(document["pause_id"])

    return listener
