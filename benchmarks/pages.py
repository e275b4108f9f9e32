"""What the sweep and the pages ask of the database, with ten thousand pauses and a million.

    python3 -m uv run benchmarks/pages.py --pauses 10000 1000000

Each size is a database of its own in one embedded PostgreSQL as it is shipped: pauses of sixty days
that stand as they do in a service in use, nine in ten resumed, one in twenty waiting, with their
events, jobs, marks of pruned ones and acts of operators. Every step of the sweep and every question
of the dashboard, of `/metrics` and of pruning is asked through the code that asks it in production,
in turns over the sizes: what does not depend on the size takes as long in each. The sweep's reading
of the checkpointer's interrupts is in locate.py.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg import sql

from benchmarks.report import milliseconds, report
from resumer.db import Pool, connect, open_pool
from resumer.embedded import embedded_postgres
from resumer.flows import FlowPauses, Flows
from resumer.gauges import Gauges
from resumer.migrate import migrate
from resumer.model import State, Waiting
from resumer.operator.narrowing import Key
from resumer.operator.reading import Reading
from resumer.operator.views import Filter
from resumer.reconcile import BATCH, LOST_AFTER, PAGE
from resumer.retention import Retention
from resumer.watchlist import Position, Watchlist
from tests.many_pauses import fill

ROUNDS = 100
SECONDS = 2.0  # then no more rounds of one step
MOST_MS = 50.0
ROWS = 50  # on a page of the dashboard

# What tests.many_pauses leaves out.
MORE = """
update pauses set next_check_at = now() + (random() * 300 - 6) * interval '1 second'
where state = 'waiting';
update pauses set next_check_at = now() + (random() * 300 - 6) * interval '1 second'
where state = 'parked';
update pauses set question = json_build_object(
    'action', action,
    'recipients', json_build_array(json_build_object('channel', 'email', 'target', 'a@example.com'))
) where state in ('waiting', 'parked', 'failed', 'answered', 'resuming');
insert into procrastinate_jobs (queue_name, task_name, lock, args, scheduled_at)
select 'resume', 'resume', pause_id, jsonb_build_object('pause_id', pause_id),
    case when state = 'failed' then now() + interval '1 hour' end
from pauses where state in ('answered', 'resuming', 'failed');
insert into pruned (digest, fingerprint)
select pause_digest('gone_' || n), substr(sha256(n::text::bytea), 1, 8)
from generate_series(1, (select count(*) from pauses)) as n;
insert into audit (who, action, target)
select 'ada', 'retried', pause_id from pauses where state in ('parked', 'failed');
insert into holds (agent_id, held_by) values ('agent-3', 'ada'), ('agent-5', 'ada');
insert into refusals
select minute, 'hmac', 2
from generate_series(now() - interval '60 days', now(), interval '10 minutes') as minute;
insert into looppause_flows.pauses
    (flow_id, pause_id, method_name, flow_class, context, state, noted_at, started_at, ended_at)
select
    'flow-' || n, 'flow_pause_' || n, 'approve', 'OrderFlow', '{}', '{}',
    now() - interval '1 hour', case when n % 2 = 0 then now() end,
    case when n % 2 = 0 then now() end
from generate_series(1, (select count(*) / 10 from pauses)) as n;
"""

# Work that was lost, and pauses that wait again: put back before each round of what repairs them.
LOSE = """
delete from procrastinate_jobs where lock in (
    select pause_id from pauses where state = 'answered' order by received_at limit 100
)
"""
PARK = """
with jobs as (
    delete from procrastinate_jobs where lock = any(%(pause_ids)s)
)
update pauses set state = 'parked', outcome = 'parked', reason_code = 'early'
where pause_id = any(%(pause_ids)s)
"""
FORGET = "delete from pauses where thread_id = 'bench'"

Ask = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Step:
    """One thing that is asked, with what is done before and after each time, untimed."""

    ask: Ask
    before: Ask | None = None
    after: Ask | None = None
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Side:
    """One database, and what asks it."""

    pauses: int
    pool: Pool
    threads: Pool

    async def run(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Rows of a query that is not measured."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []


async def main(sizes: list[int], folder: Path | None) -> None:
    """Fill what is not there yet, then measure all sizes in turns."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as temporary,
        embedded_postgres(folder or Path(temporary)) as url,
    ):
        for size in sizes:
            await make(url, size)
        async with AsyncExitStack() as stack:
            sides = [await open_side(stack, at(url, size), size) for size in sorted(sizes)]
            found = await measure(sides)
    over = {name: times for name, times in found.items() if slowest(times) > MOST_MS}
    report("pages", {"pauses": sorted(sizes), "ms": found, "over_50_ms": sorted(over)})


def at(server_url: str, size: int) -> str:
    """The database with so many pauses."""
    return urlsplit(server_url)._replace(path=f"/pages_{size}").geturl()


async def make(server_url: str, size: int) -> None:
    """Make and fill the database of this size, unless it is there."""
    name = f"pages_{size}"
    async with await connect(server_url) as connection:
        cursor = await connection.execute("select from pg_database where datname = %s", (name,))
        if await cursor.fetchone() is not None:
            return
        await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    url = at(server_url, size)
    await migrate(url, url)
    async with await connect(url, schema="resumer") as connection:
        await connection.execute("set synchronous_commit = off")
        await fill(connection, size)
        await connection.execute(MORE)
        await connection.execute("vacuum analyze")
        await connection.execute("checkpoint")


async def open_side(stack: AsyncExitStack, url: str, pauses: int) -> Side:
    """Pools as a process of the receiver has them."""
    pool = await stack.enter_async_context(open_pool(url, size=2, schema="resumer", name="own"))
    threads = await stack.enter_async_context(open_pool(url, size=2, name="threads"))
    return Side(pauses, pool, threads)


async def measure(sides: Sequence[Side]) -> dict[str, Any]:
    """Milliseconds of each step, by the number of pauses."""
    all_steps = [await steps_of(side) for side in sides]
    found = {}
    for name in all_steps[0]:
        times: list[list[float]] = [[] for _ in sides]
        until = time.monotonic() + SECONDS
        for number in range(all_steps[0][name].rounds):
            if number >= 10 and time.monotonic() > until:
                break
            for steps, spent in zip(all_steps, times, strict=True):
                spent.append(await timed(steps[name]))
        found[name] = {
            f"{side.pauses}": milliseconds(spent[2:])  # the first have to be planned
            for side, spent in zip(sides, times, strict=True)
        }
    return found


async def timed(step: Step) -> float:
    """Seconds."""
    if step.before:
        await step.before()
    start = time.perf_counter()
    await step.ask()
    spent = time.perf_counter() - start
    if step.after:
        await step.after()
    return spent


async def steps_of(side: Side) -> dict[str, Step]:
    """Everything that is measured."""
    return {**sweep(side, await waiting_in(side)), **await shown(side), **seldom(side)}


async def waiting_in(side: Side) -> list[Waiting]:
    """A page of pauses that the sweep has noted before."""
    rows = await side.run(
        "select pause_id, thread_id, interrupt_id, agent_id, asked_at, expires_at from pauses"
        " where state = 'waiting' order by created_at limit %(limit)s",
        limit=PAGE,
    )
    return [Waiting(**row, question=None) for row in rows]


def sweep(side: Side, known: Sequence[Waiting]) -> dict[str, Step]:
    """What resumer.reconcile asks of our own tables, step by step."""
    watchlist = Watchlist(side.pool)
    flows = FlowPauses(side.threads, Flows({}), "")
    numbers, now = count(), datetime.now(UTC)
    ids = [pause.pause_id for pause in known]

    async def note_new() -> None:
        prefix = f"new_{next(numbers)}_"
        new = [
            replace(pause, pause_id=prefix + pause.pause_id, thread_id="bench") for pause in known
        ]
        await watchlist.note(new, first_check=60.0)

    async def forget() -> None:
        await side.run(FORGET)

    async def lose() -> None:
        await side.run(LOSE)

    parked = ids[:BATCH]

    async def park() -> None:
        await side.run(PARK, pause_ids=parked)

    async def pick() -> None:
        rows = await watchlist.parked(now + timedelta(hours=1), limit=BATCH)
        parked[:] = [pause_id for pause_id, _ in rows]

    async def requeue() -> None:
        await watchlist.requeue_lost(older_than=LOST_AFTER, limit=BATCH)

    return {
        "sweep: position": Step(watchlist.position),
        "sweep: requeue_lost, none": Step(requeue),
        f"sweep: requeue_lost, {BATCH}": Step(requeue, before=lose),
        "sweep: parked": Step(lambda: watchlist.parked(now, limit=BATCH)),
        f"sweep: reopen {BATCH}": Step(lambda: watchlist.reopen(parked), before=pick, after=park),
        f"sweep: note {PAGE} known": Step(lambda: watchlist.note(known, first_check=60.0)),
        f"sweep: note {PAGE} new": Step(note_new, after=forget, rounds=20),
        f"sweep: reopen_collected of {PAGE}": Step(lambda: watchlist.reopen_collected(ids)),
        "sweep: due": Step(lambda: watchlist.due(now, limit=BATCH)),
        "sweep: check_later": Step(lambda: watchlist.check_later(ids[0], now)),
        "sweep: flows not noted": Step(lambda: flows.unnoted(limit=PAGE)),
        "sweep: move_on": Step(lambda: watchlist.move_on(Position("", now))),
    }


async def shown(side: Side) -> dict[str, Step]:
    """What the dashboard and the API ask."""
    reading, now = Reading(side.pool), datetime.now(UTC)
    [some] = await side.run(
        "select pause_id, thread_id from pauses where state = 'resumed'"
        " order by created_at limit 1 offset 500"
    )
    day = timedelta(days=1)
    filters = {
        "all": Filter(),
        "state waiting": Filter(states=(State.WAITING,)),
        "state parked, failed": Filter(states=(State.PARKED, State.FAILED)),
        "agent": Filter(agent_id="agent-7"),
        "agent and state": Filter(agent_id="agent-7", states=(State.PARKED,)),
        "thread": Filter(thread_id=some["thread_id"]),
        "reason": Filter(reason_code="raised"),
        "reason and agent": Filter(reason_code="raised", agent_id="agent-7"),
        "younger than a day": Filter(created_after=now - day),
        "older than 7 days": Filter(created_before=now - 7 * day),
        "agent, older than 7 days": Filter(agent_id="agent-7", created_before=now - 7 * day),
        "text of many": Filter(text="EUR"),
        "text of few": Filter(text="Pay 4321 EUR"),
        "text of none": Filter(text="no such words"),
        "text of none, agent": Filter(text="no such words", agent_id="agent-7"),
        "text: an id": Filter(text=some["pause_id"]),
    }
    deep = Key(now - timedelta(days=55), "").cursor
    pages: dict[str, Step] = {
        "overview of a day": Step(lambda: reading.overview(now=now, hours=24)),
        "overview of a week": Step(lambda: reading.overview(now=now, hours=7 * 24)),
        "overview of 90 days": Step(lambda: reading.overview(now=now, hours=90 * 24), rounds=12),
        "one pause": Step(lambda: reading.detail(some["pause_id"])),
        "its surroundings": Step(reading.surroundings),
        "agents": Step(reading.agents),
        "holds": Step(reading.holds),
    }
    for name, wanted in filters.items():
        pages |= list_steps(reading, name, wanted, deep)
    return pages


def list_steps(reading: Reading, name: str, wanted: Filter, deep: str) -> dict[str, Step]:
    """The list's first page, one far down, and the count above it."""
    return {
        f"list: {name}": Step(lambda: reading.page(wanted, limit=ROWS)),
        f"list: {name}, deep": Step(lambda: reading.page(wanted, cursor=deep, limit=ROWS)),
        f"list: {name}, count": Step(lambda: reading.count(wanted)),
    }


def seldom(side: Side) -> dict[str, Step]:
    """`/metrics`, and what pruning asks and does."""

    async def export(_connection: Any, pause_ids: Sequence[str]) -> list[dict[str, Any]]:
        raise AssertionError(pause_ids)

    retention = Retention(side.pool, side.threads, export)
    before = datetime.now(UTC) - timedelta(days=30)

    async def prune() -> None:
        async for _ in retention.pauses(before, None, most=100):
            return

    return {
        "metrics": Step(lambda: Gauges(side.pool, 30.0).refresh()),
        "pruning: count": Step(lambda: retention.count(before)),
        "pruning: 100": Step(prune, rounds=20),
        "pruning: housekeeping": Step(lambda: retention.housekeeping(before), rounds=20),
    }


def slowest(times: Mapping[str, Mapping[str, float]]) -> float:
    """The 99th percentile in milliseconds at the size where that is largest."""
    return max(each["p99"] for each in times.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument(
        "--folder", type=Path, help="keep the databases there, to measure them again"
    )
    given = parser.parse_args()
    asyncio.run(main(given.pauses, given.folder))
