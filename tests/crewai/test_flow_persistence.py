"""`PostgresFlowPersistence` by itself: its tables, its state, its lock, and other providers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from crewai.flow import Flow, HumanFeedbackResult, human_feedback, listen, start
from crewai.flow.async_feedback import HumanFeedbackPending, PendingFeedbackContext
from crewai.flow.persistence import persist

from looppause_sdk import LoopPauseConfigError
from looppause_sdk.crewai.flows import PostgresFlowPersistence, aresume_flow
from looppause_sdk.flow_tables import flow_lock
from looppause_sdk.testing import FakeLoopPause
from resumer.locks import ThreadLocks
from tests import postgres
from tests.agents import client_of
from tests.refunds import Done, Refund, kickoff, refunding


@pytest.fixture(scope="module")
def url(postgres_server: postgres.Server) -> Iterator[str]:
    """One database for all tests here: their flows have ids of their own."""
    made = postgres_server.database()
    yield made
    postgres_server.drop(made)


@pytest.fixture
def persistence(url: str) -> PostgresFlowPersistence:
    return PostgresFlowPersistence(url)


def _pauses(url: str, flow_id: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select context, state, started_at is not null, ended_at is not null"
            " from looppause_flows.pauses where flow_id = %s order by id",
            (flow_id,),
        ).fetchall()


def test_the_tables_are_made_by_several_processes_at_once(
    postgres_server: postgres.Server,
) -> None:
    """`init_db` needs no `resumer migrate`, and may be called by every replica, again and again."""
    url = postgres_server.database("template1")
    persistence = PostgresFlowPersistence(url)
    try:
        with pytest.raises(LoopPauseConfigError, match="resumer migrate"):
            persistence.load_state("nobody")
        with ThreadPoolExecutor(8) as threads:
            for made in [threads.submit(persistence.init_db) for _ in range(8)]:
                made.result()
        persistence.save_state("refund-1", "propose", {"id": "refund-1"})
        persistence.init_db()
        assert persistence.load_state("refund-1") == {"id": "refund-1"}
    finally:
        postgres_server.drop(url)


def test_the_password_is_in_nothing_that_is_shown_or_stored() -> None:
    """CrewAI's checkpoints dump the persistence along with the flow."""
    persistence = PostgresFlowPersistence("postgresql://agent:hunter2@db/agents")
    assert "hunter2" not in f"{persistence!r} {persistence} {persistence.model_dump_json()}"


@pytest.mark.parametrize(
    "variable", ["RESUMER_CHECKPOINT_URL", "RESUMER_DATABASE_URL", "DATABASE_URL"]
)
def test_the_url_may_come_from_the_environment(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same variables as the receiver's, so that both look in one place."""
    for name in ("RESUMER_CHECKPOINT_URL", "RESUMER_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LoopPauseConfigError, match="needs a database_url"):
        PostgresFlowPersistence()
    monkeypatch.setenv(variable, url)
    assert PostgresFlowPersistence().load_state("nobody") is None


async def test_state_is_kept_for_the_next_kickoff(persistence: PostgresFlowPersistence) -> None:
    """`@persist` saves after each method; the same id finds the latest state, as CrewAI has it."""

    @persist(persistence)
    class Counting(Flow[Refund]):
        @start()
        def count(self) -> list[int]:
            self.state.rounds += 1
            return [self.state.rounds]

    counts = [await Counting().kickoff_async(inputs={"id": "counted"}) for _ in range(3)]
    assert counts == [[1], [2], [3]]


async def test_what_a_pause_held_is_forgotten_when_its_run_has_ended(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, url: str
) -> None:
    """The row stays to tell a late answer from an early one; state and output do not."""
    flow_class = refunding(client_of(looppause), Done().act)
    pause_id = await kickoff(flow_class, persistence, id="forgotten")
    [(context, state, started, ended)] = _pauses(url, "forgotten")
    assert (context["method_output"], state["amount"], started, ended) == (
        {"amount": 10},
        10,
        False,
        False,
    )
    assert (context["llm"], context["default_outcome"]) == (None, "rejected")
    await aresume_flow(flow_class, looppause.decide(pause_id), persistence=persistence)
    assert _pauses(url, "forgotten") == [(None, None, True, True)]


async def test_a_pause_is_there_until_its_run_has_ended(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, url: str
) -> None:
    """CrewAI forgets it before the next method runs, and with it the approval of a crash there."""
    seen: list[Any] = []

    def look(_name: str, _review: HumanFeedbackResult) -> str:
        seen.extend(_pauses(url, "kept"))
        return "paid"

    flow_class = refunding(client_of(looppause), look)
    proof = looppause.decide(await kickoff(flow_class, persistence, id="kept"))
    await aresume_flow(flow_class, proof, persistence=persistence)
    [(context, state, started, ended)] = seen
    assert (bool(context), bool(state), started, ended) == (True, True, True, False)


async def test_a_flow_started_anew_leaves_its_earlier_question_behind(
    looppause: FakeLoopPause, persistence: PostgresFlowPersistence, url: str
) -> None:
    """One question at a time is the flow's own; the other one's answer finds nobody waiting."""
    flow_class = refunding(client_of(looppause), Done().act)
    first = await kickoff(flow_class, persistence, id="anew", amount=1)
    second = await kickoff(flow_class, persistence, id="anew", amount=2)
    assert first != second
    assert [ended for *_, ended in _pauses(url, "anew")] == [True, False]


async def test_the_lock_is_the_receivers(persistence: PostgresFlowPersistence, url: str) -> None:
    """Whoever resumes a flow by hand and the receiver keep each other out."""
    async with ThreadLocks(url).running() as locks:
        async with locks.hold(flow_lock("locked"), patience=1) as held:
            assert held
            with persistence.alone("locked") as alone:
                assert not alone
            with persistence.alone("another") as alone:
                assert alone
        with persistence.alone("locked") as alone:
            assert alone
            async with locks.hold(flow_lock("locked"), patience=0.1) as held:
                assert not held
            async with locks.hold("locked", patience=0.1) as held:
                assert held  # a thread of the same name


class _Elsewhere:
    """Somebody else's provider: it asks by other means, and is answered with a text."""

    def request_feedback(self, context: PendingFeedbackContext, _flow: Flow[Any]) -> str:
        raise HumanFeedbackPending(context)


async def test_other_providers_hibernate_as_ever(persistence: PostgresFlowPersistence) -> None:
    """For what LoopPause did not ask it is an ordinary persistence of CrewAI's."""
    said: list[str] = []

    class Reviewed(Flow[Refund]):
        @start()
        @human_feedback(message="Good?", provider=_Elsewhere())
        def draft(self) -> str:
            return "draft"

        @listen(draft)
        def publish(self, review: HumanFeedbackResult) -> str:
            said.append(review.feedback)
            return "published"

    await Reviewed(persistence=persistence).kickoff_async(inputs={"id": "reviewed"})
    flow = Reviewed.from_pending("reviewed", persistence)
    assert await flow.resume_async("very good") == "published"
    assert said == ["very good"]
    with pytest.raises(ValueError, match="No pending feedback"):
        Reviewed.from_pending("reviewed", persistence)
