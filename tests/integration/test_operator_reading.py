"""What operators read: right on a few pauses, quick on a hundred thousand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from resumer import Resumer
from resumer.db import Pool, connect, open_pool
from resumer.model import State
from resumer.operator import narrowing
from resumer.operator.acting import Acting
from resumer.operator.exporting import Exporting
from resumer.operator.narrowing import Key
from resumer.operator.reading import Reading
from resumer.operator.views import Busy, Filter, Row
from resumer.storable import storable_json
from tests import agents, many_pauses
from tests.integration.conftest import Rig, until
from tests.postgres import Server

# Text that PostgreSQL refuses, and numbers that JSON does not have.
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["\0", "\\u0000", "\\\0", "\ud800", "\udc00\ud800", 10**4000, "x" * 70_000])
)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FEW, MANY = 500, 100_000


@asynccontextmanager
async def reading_of(url: str) -> AsyncIterator[Reading]:
    async with open_pool(url, size=2, schema="resumer", name="operator") as pool:
        yield Reading(pool)


@pytest.fixture
async def reading(database_url: str) -> AsyncIterator[Reading]:
    """Over a few hundred pauses."""
    async with await connect(database_url, schema="resumer") as connection:
        await many_pauses.fill(connection, FEW)
        # Many at the same moment: the id decides.
        await connection.execute(
            "update pauses set created_at = date_trunc('day', created_at) where state = 'resumed'"
        )
    async with reading_of(database_url) as made:
        yield made


async def all_pages(reading: Reading, wanted: Filter, limit: int) -> list[Row]:
    """Every row of every page, as one who turns them all sees it."""
    rows: list[Row] = []
    cursor = None
    while True:
        page = await reading.page(wanted, cursor=cursor, limit=limit)
        assert len(page.rows) <= limit
        rows += page.rows
        if (cursor := page.next_cursor) is None:
            return rows


FILTERS = [
    Filter(),
    Filter(states=(State.PARKED,)),
    Filter(states=(State.FAILED, State.PARKED, State.FAILED)),
    Filter(agent_id="agent-15"),
    Filter(agent_id="agent-15", states=(State.RESUMED, State.PARKED)),
    Filter(thread_id="thread-5"),
    Filter(reason_code="raised"),
    Filter(reason_code="raised", agent_id="agent-15"),
    Filter(text="PAY 17"),
    Filter(text="thread-5"),
    Filter(text="person7@example.com", states=(State.RESUMED,)),
    Filter(text="nowhere to be found"),
    Filter(text="100%"),
    Filter(agent_id="nobody"),
]


def matches(row: Row, wanted: Filter) -> bool:
    """The same question, asked of one row."""
    shown = (row.pause_id, row.agent_id, row.thread_id, row.decision, row.responder)
    texts = [
        text.lower() for text in (*shown, row.description, row.reason_code, row.reason) if text
    ]
    found = any((wanted.text or "").lower() in text for text in texts)
    if wanted.text == "thread-5":  # an id means just that
        found = row.thread_id == "thread-5"
    return (
        found
        and (not wanted.states or row.state in wanted.states)
        and wanted.agent_id in (None, row.agent_id)
        and wanted.thread_id in (None, row.thread_id)
        and wanted.reason_code in (None, row.reason_code)
    )


@pytest.mark.parametrize("examined", [narrowing.MOST_EXAMINED, 40])
async def test_pages_have_each_pause_once_the_newest_first(
    reading: Reading, examined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever narrows, however long a page, and however many are looked at for a text at once."""
    monkeypatch.setattr(narrowing, "MOST_EXAMINED", examined)
    everything = await all_pages(reading, Filter(), 500)
    assert len(everything) == FEW
    keys = [(row.created_at, row.pause_id) for row in everything]
    assert keys == sorted(keys, reverse=True)
    for wanted in FILTERS:
        expected = [row.pause_id for row in everything if matches(row, wanted)]
        for limit in (7, 500):
            rows = await all_pages(reading, wanted, limit)
            assert [row.pause_id for row in rows] == expected, (wanted, limit)
        if examined > FEW:
            assert await reading.count(wanted) == len(expected), wanted
            assert await reading.count(wanted, most=3) == min(3, len(expected)), wanted


async def test_a_text_is_looked_for_page_by_page(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at a part of what is counted, and leads on where it finds nothing."""
    wanted = Filter(text="Pay 500 EUR")
    assert await reading.count(wanted) == 1
    monkeypatch.setattr("resumer.operator.reading.FOR_A_PAGE", 40)
    first = await reading.page(wanted)
    assert (first.rows, first.next_cursor is None) == ((), False)
    assert len(await all_pages(reading, wanted, 50)) == 1
    assert await reading.count(wanted) == 1


async def test_a_period_has_its_first_moment_and_not_its_last(reading: Reading) -> None:
    """`created_after` includes its moment, `created_before` does not."""
    everything = await all_pages(reading, Filter(), 500)
    first, last = everything[400].created_at, everything[100].created_at
    wanted = Filter(created_after=first, created_before=last)
    expected = [row for row in everything if first <= row.created_at < last]
    assert await all_pages(reading, wanted, 50) == expected


async def test_an_id_is_found_however_old_it_is(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for a text ends somewhere, the ids of pauses and threads are always found."""
    monkeypatch.setattr(narrowing, "MOST_EXAMINED", 10)
    oldest = (await all_pages(reading, Filter(), 500))[-1]
    page = await reading.page(Filter(text=oldest.pause_id))
    assert (page.rows, page.next_cursor) == ((oldest,), None)
    siblings = await reading.page(Filter(text=oldest.thread_id))
    assert oldest in siblings.rows
    agent = await reading.page(Filter(text=oldest.pause_id, agent_id="another"))
    assert agent.rows == ()


@pytest.mark.parametrize(
    "cursor",
    ["0", "!", "e30", "W10", "WzEsMl0", "WyIyMDI2LTAxLTAxIiwgInAiXQ", "é", "[" * 9999, "x" * 5000],
)
async def test_a_cursor_that_is_none_of_ours_is_refused(reading: Reading, cursor: str) -> None:
    """It says what to do, and asks the database nothing."""
    with pytest.raises(ValueError, match="the cursor is none of ours"):
        await reading.page(Filter(), cursor=cursor)


async def test_how_busy_each_agent_is(reading: Reading) -> None:
    """One question for all of them tells what counting each would."""
    agents_seen = await reading.agents()
    assert len(agents_seen) == many_pauses.AGENTS
    for name in list(agents_seen)[:5]:
        running = Filter(states=(State.RESUMING,), agent_id=name)
        due = Filter(states=(State.ANSWERED, State.FAILED), agent_id=name)
        counted = Busy(await reading.count(running), await reading.count(due))
        assert agents_seen[name] == counted
    assert sum(busy.due for busy in agents_seen.values()) > 0


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
async def test_everything_of_one_pause(rig: Rig, scheme: Any) -> None:
    """The question, the answer and how it was verified, the thread, and what happened when."""
    rig.looppause.scheme = scheme
    graph = rig.agent()
    resumer = await rig.receiver({"procurement": graph})
    [pause_id] = await rig.hibernate(graph, "t1")
    said: dict[str, Any] = {"responder": "ada@example.com", "comment": "fine", "fields": {"cap": 9}}
    proof = rig.looppause.decide(pause_id, channel="slack", **said)
    await rig.deliver(resumer, proof)
    await rig.until_state(pause_id, "resumed")
    await rig.deliver(resumer, proof)
    [other] = await rig.hibernate(graph, "t1", amount=9)
    await rig.deliver(resumer, rig.looppause.decide(other))
    await rig.until_state(other, "resumed")

    async with reading_of(rig.url) as reading:
        detail = await reading.detail(pause_id)
        assert await reading.detail("unheard of") is None
    assert detail is not None
    row = detail.row
    assert (row.state, row.outcome, row.decision) == (State.RESUMED, "resumed", "approved")
    assert (row.agent_id, row.thread_id) == ("procurement", "t1")
    assert (row.description, row.responder) == ("Pay 7 EUR", "ada@example.com")
    assert detail.action == agents.action_of({"amount": 7})
    assert list(row.recipients) == agents.RECIPIENTS
    assert (detail.comment, detail.fields, detail.channel) == ("fine", {"cap": 9}, "slack")
    assert detail.scheme == scheme
    assert detail.deliveries == 2
    assert json.loads(detail.proof or "") == proof
    assert (detail.checkpoint_id or "")[14] == "6", "a checkpoint's id is a UUID of version 6"
    assert detail.checkpoint_ns == ""
    names = [(event.name, event.detail.get("result")) for event in detail.events]
    assert names == [
        ("delivered", "accepted"),
        ("started", None),
        ("resumed", None),
        ("delivered", "duplicate"),
    ]
    assert detail.events[0].detail["key_id"] == detail.key_id
    assert "ada" not in repr([event.detail for event in detail.events])
    assert [sibling.pause_id for sibling in detail.siblings] == [other]
    assert "ada" not in repr(detail).replace(row.responder or "", "")


async def test_another_answer_is_shown_beside_the_first(rig: Rig) -> None:
    """Kept with its bytes, and never applied."""
    resumer = await rig.receiver()
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    approved = rig.looppause.decide(pause_id)
    rejected = rig.looppause.sign({**approved, "decision": "rejected", "human_response": False})
    await rig.deliver(resumer, approved)
    assert (await rig.deliver(resumer, rejected)).json()["status"] == "conflict"
    async with reading_of(rig.url) as reading:
        detail = await reading.detail(pause_id)
    assert detail is not None
    [conflict] = detail.conflicts
    assert (conflict.decision, conflict.deliveries) == ("rejected", 1)
    assert json.loads(conflict.body)["decision"] == "rejected"
    assert "conflict" in [event.detail.get("result") for event in detail.events]


async def test_what_a_waiting_thread_asks_is_known_before_anybody_answers(rig: Rig) -> None:
    """The sweep reads it from the interrupt; what PostgreSQL cannot keep stays out of it."""
    await rig.receiver(reconcile_seconds=1.0)
    graph = agents.payment_agent(
        rig.client(),
        rig.ledger.pay,
        action_builder=lambda _: {"type": "t", "description": "N\0L and \\u0000", "details": {}},
    )
    [pause_id] = await rig.hibernate(graph, "t1")
    record = await rig.until_state(pause_id, "waiting")
    assert record["action"]["description"] == "N\ufffdL and \\ufffd"


async def test_what_was_asked_keeps_its_order(rig: Rig) -> None:
    """Before anybody answers as afterwards, in what operators read and in what they export."""
    resumer = await rig.receiver(reconcile_seconds=1.0)
    details = {"vendor": "Acme", "amount": 7, "iban": "DE02", "a": [{"z": 1, "b": 2}]}
    graph = agents.payment_agent(
        rig.client(),
        rig.ledger.pay,
        action_builder=lambda _: {"type": "t", "description": "d", "details": details},
    )
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.until_state(pause_id, "waiting")
    written = json.dumps({"type": "t", "description": "d", "details": details})
    async with reading_of(rig.url) as reading:
        waiting = await reading.detail(pause_id)
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        answered = await reading.detail(pause_id)
        [exported] = [pause async for pause in Exporting(reading.pool).pauses(Filter())]
    assert waiting is not None
    assert answered is not None
    kept = [waiting.action, answered.action, exported["action"]]
    assert [json.dumps(action) for action in kept] == [written] * 3
    assert exported["recipients"] == agents.RECIPIENTS
    assert list(waiting.row.recipients) == agents.RECIPIENTS


async def test_what_an_older_version_has_kept_is_read(rig: Rig) -> None:
    """Its rows, and those its replicas write in the middle of an upgrade, have no `question`."""
    await rig.receiver()
    action = json.dumps(agents.action_of({"amount": 7}))
    await rig.rows(
        "insert into pauses (pause_id, state, action) values ('p1', 'waiting', %s) returning 1",
        action,
    )
    async with reading_of(rig.url) as reading:
        detail = await reading.detail("p1")
        [exported] = [pause async for pause in Exporting(reading.pool).pauses(Filter())]
    assert detail is not None
    assert detail.action == exported["action"] == json.loads(action)
    assert (detail.row.recipients, exported["recipients"]) == ((), None)


async def test_the_story_of_a_pause_that_waits_and_is_put_off(rig: Rig) -> None:
    """A postponement is told once for each reason, however often it is looked at again."""
    resumer = await rig.receiver()
    request = {"agent_id": "a", "action": agents.action_of({"amount": 1})}
    asked = rig.looppause.create({**request, "recipients": agents.RECIPIENTS})
    await rig.deliver(resumer, rig.looppause.decide(asked["pause_id"]))
    await until(lambda: _looked_at_often(rig, asked["pause_id"]))
    rows = await rig.rows("select event, detail from events order by id")
    assert [row["event"] for row in rows] == ["delivered", "postponed"]
    assert rows[1]["detail"]["code"] == "early"


async def _looked_at_often(rig: Rig, pause_id: str) -> Any:
    return await rig.rows(
        "select 1 from procrastinate_jobs where lock = %s and attempts >= 3", pause_id
    )


async def test_the_overview_of_a_working_service(rig: Rig) -> None:
    """Counts, the oldest that is stuck, the chart, wake-up times, workers, keys and agents."""
    graph = rig.agent()
    resumer = await rig.receiver({"procurement": graph}, reconcile_seconds=1.0)
    [done] = await rig.hibernate(graph, "t1")
    await rig.hibernate(graph, "t2")
    await rig.deliver(resumer, rig.looppause.decide(done))
    await rig.until_state(done, "resumed")
    await until(lambda: rig.rows("select 1 from pauses where state = 'waiting'"))
    async with reading_of(rig.url) as reading:
        seen = await reading.overview(now=datetime.now(UTC), hours=1)
        assert (await reading.surroundings()).nobody_works is False
    counts = {state: count for state, count in seen.counts.items() if count}
    assert counts == {State.RESUMED: 1, State.WAITING: 1}
    assert set(seen.counts) == set(State)
    assert (sum(b.decisions for b in seen.series), sum(b.resumes for b in seen.series)) == (1, 1)
    assert seen.latency.count == 1
    assert 0 < (seen.latency.p50 or 0) < 10
    assert [worker.is_alive for worker in seen.workers] == [True]
    assert [(key.scheme, key.deliveries) for key in seen.keys] == [("hmac", 1)]
    assert seen.agents == ("procurement",)
    assert seen.oldest_unresolved is None
    assert seen.swept_at is not None


async def test_what_was_not_genuine_is_counted(rig: Rig) -> None:
    """By the scheme it claims, stored when there is time, at the latest on stopping."""
    resumer = Resumer(database_url=rig.url, signing_secrets=["s"], worker=False)
    async with resumer.running():
        for forged in ({"pause_id": "p", "signature": "00"}, {"canonical_payload": "{}"}):
            for _ in range(2):
                assert (await rig.deliver(resumer, forged)).status_code == 401
        assert await rig.rows("select 1 from refusals") == []
    async with resumer.running():
        await rig.deliver(resumer, {"pause_id": "p"})
    async with reading_of(rig.url) as reading:
        seen = await reading.overview(now=datetime.now(UTC))
    assert seen.refused == {"ed25519": 2, "hmac": 3}


async def test_the_oldest_that_is_stuck_and_why_others_are_parked(reading: Reading) -> None:
    """The answer that has waited longest, and a count for each reason."""
    seen = await reading.overview(now=datetime.now(UTC))
    stuck = (State.ANSWERED, State.RESUMING, State.FAILED, State.PARKED)
    rows = await all_pages(reading, Filter(states=stuck), 500)
    oldest = min(rows, key=lambda row: row.received_at or NOON)
    assert seen.oldest_unresolved == oldest
    assert sum(seen.parked_by_reason.values()) == seen.counts[State.PARKED] > 0
    assert seen.workers == ()


@pytest.mark.parametrize(("hours", "most"), [(1, 13), (24, 49), (24 * 7, 57), (24 * 60, 121)])
async def test_the_chart_covers_its_period_without_gaps(
    reading: Reading, hours: int, most: int
) -> None:
    """Buckets of one width from before the period's begin to now, those with nothing, too."""
    now = datetime.now(UTC)
    series = (await reading.overview(now=now, hours=hours)).series
    assert series[0].start <= now - timedelta(hours=hours) < series[1].start
    assert series[-1].start <= now
    assert len({later.start - earlier.start for earlier, later in pairwise(series)}) == 1
    assert len(series) <= most
    page = await all_pages(reading, Filter(), 500)
    since = now - timedelta(hours=hours)
    assert sum(bucket.decisions for bucket in series) == sum(
        1 for row in page if row.received_at and since <= row.received_at
    )


async def test_no_question_of_an_operator_writes(database_url: str) -> None:
    """Each runs in a transaction that may only read."""
    async with reading_of(database_url) as reading, reading._asking() as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("insert into holds (agent_id, held_by) values ('a', 'b')")


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_postgresql_takes_whatever_an_agent_shows(postgres_server: Server, value: Any) -> None:
    """Or it is left out: one agent's odd action must not keep the sweep from the others."""
    text = storable_json(value)
    if text is not None:
        with psycopg.connect(postgres_server.url) as connection:
            connection.execute("select %s::jsonb", (text,))


class Noting(psycopg.AsyncCursor[Any]):
    """A cursor that keeps what it is asked."""

    asked: list[tuple[Any, Any]] = []  # noqa: RUF012  # shared on purpose

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        self.asked.append((query, params))
        return await super().execute(query, params, **options)


@asynccontextmanager
async def noting_pool(url: str) -> AsyncIterator[Pool]:
    async def set_up(connection: Any) -> None:
        await connection.set_autocommit(True)
        connection.cursor_factory = Noting

    pool: Pool = AsyncConnectionPool(
        url,
        kwargs={"row_factory": dict_row, "options": "-c search_path=resumer"},
        min_size=1,
        max_size=1,
        configure=set_up,
        open=False,
    )
    async with pool:
        yield pool


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(inner for child in plan.get("Plans", []) for inner in nodes(child))]


async def plans(url: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """The plan of each question that was noted, as it runs."""
    found = []
    async with await connect(url, schema="resumer") as connection:
        for query, params in Noting.asked:
            text = query.encode() if isinstance(query, str) else query.as_bytes(connection)
            if not text.lstrip().lower().startswith((b"select", b"with", b"--")):
                continue
            if b"-- Take parked" in text:  # it acts
                continue
            async with connection.transaction(force_rollback=True):
                cursor = await connection.execute(b"explain (analyze, format json) " + text, params)
                [row] = await cursor.fetchall()
            found.append((text.decode(), nodes(row["QUERY PLAN"][0]["Plan"])))
    return found


QUESTIONS = [
    *FILTERS,
    Filter(created_before=datetime.now(UTC) - timedelta(days=30)),
    Filter(created_after=datetime.now(UTC) - timedelta(days=1), agent_id="agent-3"),
    Filter(text="Pay 50000 EUR", states=(State.PARKED, State.FAILED)),
]


async def test_no_question_reads_a_table_of_a_hundred_thousand(database_url: str) -> None:
    """Every one walks an index; a page touches about as many rows as it shows, however deep."""
    async with await connect(database_url, schema="resumer") as connection:
        await many_pauses.fill(connection, MANY)
    Noting.asked.clear()
    deep = Key(datetime.now(UTC) - timedelta(days=55), "").cursor
    async with noting_pool(database_url) as pool:
        reading, acting = Reading(pool), Acting(pool)
        for wanted in QUESTIONS:
            page = await reading.page(wanted)
            await reading.page(wanted, cursor=deep)
            await reading.count(wanted)
        for hours in (1, 24):
            await reading.overview(now=datetime.now(UTC), hours=hours)
        await reading.surroundings()
        page = await reading.page(Filter(states=(State.RESUMED,)))
        await reading.detail(page.rows[0].pause_id)
        await acting.retry_matching(Filter(), by="ada", dry_run=True)
        await acting.audit()
    found = await plans(database_url)
    assert len(found) > 100
    for text, plan in found:
        scanned = {node.get("Relation Name") for node in plan if node["Node Type"] == "Seq Scan"}
        assert not scanned & {"pauses", "events"}, text
        if "limit 51" in text and "examined" not in text:
            read = sum(n["Actual Rows"] * n["Actual Loops"] for n in plan if "Index Name" in n)
            assert read < 10 * 51, text
