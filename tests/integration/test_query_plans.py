"""The statements that are sent for every delivery, resume and sweep find what they need."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt

from looppause_sdk.proof import Proof
from resumer.db import Connection, Pool, connect, open_pool
from resumer.flows import FlowPauses, Flows
from resumer.model import Found, Parked, Resumed, State, Waiting
from resumer.operator.narrowing import Key
from resumer.operator.reading import Reading
from resumer.operator.views import Filter
from resumer.pauses import Pauses
from resumer.retention import Retention
from resumer.threads import Threads
from resumer.watchlist import Watchlist
from tests.many_pauses import fill
from tests.plans import plans_of
from tests.postgres import Server

MANY = 20_000
THREADS = 4_000  # each with a history of four checkpoints
LARGE = frozenset({"pauses", "events", "pruned", "checkpoints", "checkpoint_writes", "conflicts"})
COMPILED_FROM = 100_000  # PostgreSQL's own `jit_above_cost`
NOW = datetime.now(UTC)
PAUSE = "pause_" + "0" * 32

_JOBS = """
insert into procrastinate_jobs (queue_name, task_name, lock, args)
select 'resume', 'resume', pause_id, '{}' from pauses
where state in ('answered', 'resuming', 'failed');
insert into pruned (digest, fingerprint)
select pause_digest('gone_' || n), 'abcdefgh' from generate_series(1, 20000) as n;
insert into conflicts (pause_id, fingerprint, body, decision)
select pause_id, fingerprint, body, 'rejected' from pauses where state = 'resumed';
update pauses set next_check_at = now() + n * interval '1 second'
from (select pause_id, row_number() over () as n from pauses where state = 'waiting') as waiting
where pauses.pause_id = waiting.pause_id
"""
_HISTORY = """
insert into checkpoints (thread_id, checkpoint_id, checkpoint)
select 'thread-' || n, 'checkpoint-' || lpad((n * 4 + step)::text, 9, '0'), '{}'
from generate_series(1, %(threads)s) as n, generate_series(0, 3) as step
"""
_WRITES = """
insert into checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)
select thread_id, checkpoint_id, 'task-' || checkpoint_id, idx, 'amount', 'msgpack', '\\x07'
from checkpoints, generate_series(0, 2) as idx
where split_part(checkpoint_id, '-', 2)::int %% 4 < 3
union all
select thread_id, checkpoint_id, 'task-' || checkpoint_id, -3, '__interrupt__', 'msgpack',
    overlay(%(blob)s::bytea placing convert_to('pause_' || md5(thread_id), 'UTF8')
        from %(at)s::int)
from checkpoints where split_part(checkpoint_id, '-', 2)::int %% 4 = 3
"""
_NOTED = """
insert into resumer_pause_index
select 'noted_' || n, thread_id, '', checkpoint_id, task_id
from (select *, row_number() over () as n from checkpoint_writes) as writes limit 5000
"""
_COPIES = """
insert into checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)
select 'copy-' || n, 'checkpoint', 'task', -3, '__interrupt__', 'msgpack', %(blob)s
from generate_series(1, %(copies)s) as n
"""
_FLOWS = """
insert into looppause_flows.pauses
    (flow_id, pause_id, method_name, flow_class, context, state, noted_at, ended_at)
select 'flow-' || n, 'flow_pause_' || n, 'approve', 'Order', '{}', '{}', now(),
    case when n %% 10 > 0 then now() end
from generate_series(1, 20000) as n
"""


@pytest.fixture(scope="module")
def filled_url(postgres_server: Server) -> Iterator[str]:
    """A database with so much in it that reading all of it would not do."""
    url = postgres_server.database()
    asyncio.run(_fill(url))
    yield url
    postgres_server.drop(url)


async def _fill(url: str) -> None:
    blob = interrupt_of(PAUSE)
    values = {"threads": THREADS, "blob": blob, "at": blob.index(PAUSE.encode()) + 1}
    async with await connect(url) as connection:
        for script in (_HISTORY, _WRITES, _NOTED, _FLOWS):
            await connection.execute(script.encode(), values)
    async with await connect(url, schema="resumer") as connection:
        await fill(connection, MANY)
        await connection.execute(_JOBS.encode())
        await connection.execute("vacuum analyze")


def interrupt_of(pause_id: str) -> bytes:
    raised = Interrupt(value={"pause_id": pause_id}, id="i")
    return JsonPlusSerializer().dumps_typed([raised])[1]


def a_pause(number: int) -> str:
    """One of the pauses that were made: a multiple of a hundred was resumed."""
    return "pause_" + hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def proof_of(pause_id: str) -> Proof:
    return Proof(pause_id, "approved", "human", human_response=True)


def found_at(number: int) -> Found:
    return Found(f"thread-{number}", "", "c", "t", "i", {}, stored=True, ahead=False)


def waiting_at(pause_id: str) -> Waiting:
    return Waiting(pause_id, "thread-1", "i", "agent-1", NOW, None, None)


def note(pool: Pool) -> Awaitable[object]:
    return Watchlist(pool).note([waiting_at("new")], first_check=60.0)


async def still_open(pool: Pool) -> object:
    async def export(*_: Any) -> list[Any]:
        return []

    return await Retention(pool, pool, export)._still_open(["pause_a", "pause_b"])


async def page(pool: Pool, wanted: Filter, *, days: int = 0) -> object:
    deep = Key(NOW - timedelta(days=days), "").cursor if days else None
    return await Reading(pool).page(wanted, cursor=deep)


OURS: dict[str, tuple[Callable[[Pool], Awaitable[object]], set[str]]] = {
    "record": (lambda pool: Pauses(pool).record(proof_of("new_one"), b"{}"), {"pauses_pkey"}),
    "record a duplicate": (
        lambda pool: Pauses(pool).record(proof_of(a_pause(100)), b"{}"),
        {"pauses_pkey", "conflicts_pkey"},
    ),
    "load": (lambda pool: Pauses(pool).load(a_pause(100)), {"pauses_pkey"}),
    "standing": (lambda pool: Pauses(pool).standing([a_pause(100)]), {"pauses_pkey"}),
    "begin": (
        lambda pool: Pauses(pool).begin(a_pause(197), found_at(1), stall_seconds=30.0),
        {"pauses_pkey", "pauses_thread_idx"},
    ),
    "finish": (
        lambda pool: Pauses(pool).finish(a_pause(1197), Resumed(()), found_at(1)),
        {"pauses_pkey"},
    ),
    "park": (
        lambda pool: Pauses(pool).finish(a_pause(2197), Parked("early", "why"), None),
        {"pauses_pkey"},
    ),
    "collected": (lambda pool: Pauses(pool).note_collected(a_pause(100)), {"pauses_pkey"}),
    "note": (note, {"pauses_pkey", "pruned_pkey"}),
    "due": (lambda pool: Watchlist(pool).due(NOW, limit=100), {"pauses_waiting_idx"}),
    "parked": (
        lambda pool: Watchlist(pool).parked(NOW, limit=100),
        {"pauses_parked_idx|pauses_reason_idx"},
    ),
    "check later": (lambda pool: Watchlist(pool).check_later(a_pause(95), NOW), {"pauses_pkey"}),
    "reopen": (
        lambda pool: Watchlist(pool).reopen([a_pause(95)]),
        {"pauses_pkey|pauses_page_idx"},
    ),
    "reopen collected": (
        lambda pool: Watchlist(pool).reopen_collected([a_pause(100)]),
        {"pauses_pkey|pauses_thread_idx"},
    ),
    "requeue lost": (
        lambda pool: Watchlist(pool).requeue_lost(older_than=timedelta(seconds=15), limit=100),
        {"pauses_unfinished_idx"},
    ),
    "first page": (lambda pool: page(pool, Filter()), {"pauses_page_idx"}),
    "deep page": (lambda pool: page(pool, Filter(), days=50), {"pauses_page_idx"}),
    "page of an agent": (
        lambda pool: page(pool, Filter(agent_id="agent-7"), days=50),
        {"pauses_agent_idx"},
    ),
    "page of a reason": (
        lambda pool: page(pool, Filter(reason_code="raised", states=(State.FAILED,))),
        {"pauses_reason_idx"},
    ),
    "one pause": (
        lambda pool: Reading(pool).detail(a_pause(100)),
        {"pauses_pkey", "events_pause_idx", "conflicts_pkey", "pauses_thread_idx"},
    ),
    "pruned on": (lambda pool: Reading(pool).pruned_on("gone_7"), {"pruned_pkey"}),
}
THEIRS: dict[str, tuple[Callable[[Pool], Awaitable[object]], set[str]]] = {
    "locate": (
        lambda pool: Threads(pool).locate("pause_of_nobody"),
        {"resumer_locate_idx", "resumer_pause_index_pkey", "checkpoints_pkey"},
    ),
    "a page of interrupts": (
        lambda pool: Threads(pool).raised_after(None, limit=50),
        {"resumer_waiting_idx", "checkpoints_pkey", "checkpoint_writes_pkey"},
    ),
    "what is open still": (
        still_open,
        {"resumer_locate_idx", "resumer_pause_index_pkey", "checkpoints_pkey"},
    ),
    "flows not noted": (
        lambda pool: FlowPauses(pool, Flows({}), "").unnoted(limit=50),
        {"pauses_waiting_idx"},
    ),
    "a flow": (
        lambda pool: FlowPauses(pool, Flows({}), "").locate("flow_pause_7"),
        {"pauses_pause_id_key"},
    ),
}


@pytest.mark.parametrize(
    ("schema", "name"),
    [("resumer", name) for name in OURS] + [(None, name) for name in THEIRS],
)
async def test_it_reads_indexes_only(filled_url: str, schema: str | None, name: str) -> None:
    """Planned for its parameters, and as a prepared statement is that has run for a while."""
    work, expected = (OURS if schema else THEIRS)[name]
    plans = await plans_of(filled_url, schema, work)
    for is_generic in (False, True):
        of_kind = [plan for plan in plans if plan.is_generic is is_generic]
        assert of_kind
        for plan in of_kind:
            assert not plan.read_whole & LARGE, str(plan)
            assert plan.cost < COMPILED_FROM, str(plan)
        used = frozenset().union(*(plan.indexes for plan in of_kind))
        for wanted in expected:
            assert used & set(wanted.split("|")), "\n".join(map(str, of_kind))


async def test_every_interrupt_of_a_pause_is_found(filled_url: str) -> None:
    """Though the planner is told that there are hardly ever more than a hundred."""
    values = {"copies": 250, "blob": interrupt_of("pause_of_many")}
    async with open_pool(filled_url, size=1, name="test") as pool:
        async with pool.connection() as connection:
            await connection.execute(_COPIES.encode(), values)
        found = await Threads(pool).locate("pause_of_many")
    assert len({each.thread_id for each in found}) == 250


@pytest.mark.parametrize(("days", "bound"), [(50, "ROW(created_at"), (5, "(created_at <")])
async def test_a_page_starts_where_the_one_before_ended(
    filled_url: str, days: int, bound: str
) -> None:
    """Among the pauses of a period too: given two ends, an index is read from the later one on."""
    wanted = Filter(created_before=NOW - timedelta(days=7))
    plans = await plans_of(filled_url, "resumer", lambda pool: page(pool, wanted, days=days))
    ends = [step["Index Cond"] for plan in plans for step in plan.steps if "Index Cond" in step]
    assert ends
    for each in ends:
        assert each.count("created_at <") + each.count("ROW(created_at") == 1, each
        assert bound in each


async def test_what_was_pruned_is_looked_up_by_its_digest(filled_url: str) -> None:
    """By the trigger on each new pause, whose own statement has no plan to be seen."""
    async with await connect(filled_url, schema="resumer") as connection, connection.transaction():
        await connection.execute(
            "insert into pauses (pause_id, state) select 'n_' || n, 'waiting'"
            " from generate_series(1, 10) as n"
        )
        cursor = await connection.execute(
            "select seq_scan, idx_scan from pg_stat_xact_user_tables"
            " where schemaname = 'resumer' and relname = 'pruned'"
        )
        [row] = await cursor.fetchall()
    assert row == {"seq_scan": 0, "idx_scan": 10}


async def test_a_job_is_found_without_reading_those_that_wait_or_are_gone(
    database_url: str,
) -> None:
    """However the queue grew since it was last counted, and whatever a worker planned then."""
    async with await connect(database_url, schema="resumer") as connection:
        await connection.execute("alter table procrastinate_jobs set (autovacuum_enabled = false)")
        await connection.execute("insert into procrastinate_workers default values")
    most = 0
    for waiting in (20, *[400] * 6, 5_000):
        async with await connect(database_url, schema="resumer") as worker:
            await worker.execute(_ENQUEUE, (waiting,))
            for _ in range(min(waiting, 400)):
                most = max(most, await _rows_read_for_a_job(worker))
    assert most < 30


_ENQUEUE = """
insert into procrastinate_jobs (queue_name, task_name, lock, args)
select 'resume', 'resume', 'pause_' || gen_random_uuid(), '{}' from generate_series(1, %s)
"""


async def _rows_read_for_a_job(worker: Connection) -> int:
    """Take a job and end it."""
    before = await _rows_read(worker)
    cursor = await worker.execute(
        "select id from procrastinate_fetch_job_v2("
        "array['resume'], (select max(id) from procrastinate_workers))"
    )
    job = await cursor.fetchone()
    assert job is not None
    assert job["id"] is not None
    read = await _rows_read(worker) - before
    await worker.execute("select procrastinate_finish_job_v1(%s, 'succeeded', true)", (job["id"],))
    return read


async def _rows_read(worker: Connection) -> int:
    """What the session has read of the queue and not yet reported."""
    cursor = await worker.execute(
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int as rows"
        " from pg_stat_xact_user_tables where relid = 'procrastinate_jobs'::regclass"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["rows"])
