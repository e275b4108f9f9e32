"""How many SQL statements a delivery, a resume and an idle minute take, and who sends them.

    python3 -m uv run benchmarks/statements.py --pauses 300 --idle 60

One PostgreSQL of its own writes every statement into its log, which is read afterwards: what
counts is what the server was asked, not what we think we ask. A receiver and a worker of this
program, told apart by their `application_name`, take pauses of a small agent (one gate, one node
behind it). The baseline is LangGraph alone: `graph.ainvoke(Command(resume=...))` with durability
`sync` on equal threads, over an `AsyncPostgresSaver` on a pool, as
https://docs.langchain.com/oss/python/langgraph/persistence sets it up.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.growth import agent
from benchmarks.report import report
from benchmarks.server_log import OBSERVER, ServerLog, logging_all
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.db import Connection, connect
from resumer.embedded import embedded_postgres
from resumer.migrate import migrate

AT_ONCE = 32
FLUSH_SECONDS = 11.0  # an idle session tells its statistics after 10
STATISTICS = """
select
    (select sum(fsyncs) from pg_stat_io where object = 'wal')::bigint as fsyncs,
    (select wal_bytes from pg_stat_wal)::bigint as wal_bytes
"""
CONNECTIONS = """
select application_name as name, count(*) as count from pg_stat_activity
where application_name <> '' and application_name <> 'observer' group by 1 order by 1
"""


@dataclass
class Bench:
    """What all parts of it need."""

    url: str
    log: ServerLog
    looppause: FakeLoopPause
    observer: Connection
    pauses: int
    before: dict[str, int] = field(default_factory=dict)

    def named(self, name: str) -> str:
        """The database for a sender of this name."""
        return f"{self.url}{'&' if '?' in self.url else '?'}application_name={name}"

    async def hibernate(self, first: int, count: int) -> list[str]:
        """So many threads at their gates; the ids of their pauses."""
        graph = agent(self.looppause)
        known = set(await self.pause_ids())
        async with _langgraph_pool(self.named(OBSERVER)) as pool:

            async def one(number: int) -> None:
                attached = copy.copy(graph)
                attached.checkpointer = AsyncPostgresSaver(pool)
                await attached.ainvoke({"amount": number}, _thread(number))

            await at_once(one, range(first, first + count), 8)
        return sorted(set(await self.pause_ids()) - known)

    async def pause_ids(self) -> list[str]:
        """All that LoopPause knows."""
        return [pause["pause_id"] for pause in self.looppause.pauses.values()]

    async def resumed(self) -> int:
        """How many so far."""
        cursor = await self.observer.execute(
            "select count(*) as n from resumer.pauses where state = 'resumed'"
            " and not exists (select from resumer.procrastinate_jobs)"
        )
        row = await cursor.fetchone()
        return row["n"] if row else 0

    async def until_resumed(self, wanted: int) -> None:
        """Wait until so many are, and the queue is empty."""
        while await self.resumed() < wanted:  # noqa: ASYNC110  (another process's doing)
            await asyncio.sleep(0.02)

    async def statistics(self) -> dict[str, int]:
        """The server's own counters, once all sessions have told theirs."""
        await asyncio.sleep(FLUSH_SECONDS)
        cursor = await self.observer.execute(STATISTICS)
        row = await cursor.fetchone()
        return dict(row or {})


async def at_once(work: Callable[[Any], Awaitable[None]], items: Iterable[Any], most: int) -> None:
    """So many at a time."""
    slots = asyncio.Semaphore(most)

    async def run(item: Any) -> None:
        async with slots:
            await work(item)

    await asyncio.gather(*map(run, items))


def _thread(number: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": f"thread-{number:08}"}}


@asynccontextmanager
async def _langgraph_pool(url: str) -> AsyncIterator[Any]:
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(url, min_size=1, max_size=12, kwargs=kwargs, open=False) as pool:
        yield pool


Result = dict[str, Any]


async def measured(bench: Bench, unit: float, work: Awaitable[None]) -> Result:
    """Do the work and tell what it took, divided by `unit`."""
    before = bench.before or await bench.statistics()
    bench.log.skip()
    await work
    seen = bench.log.read()
    bench.before = after = await bench.statistics()
    rows = [
        {
            "sender": sender,
            "statement": statement,
            "count": round(one.count / unit, 2),
            "mean_ms": round(one.ms / max(1, one.count), 3),
        }
        for (sender, statement), one in seen.items()
    ]
    return {
        "statements": round(sum(one.count for one in seen.values()) / unit, 2),
        "server_ms": round(sum(one.ms for one in seen.values()) / unit, 2),
        **{f"{name}": round((after[name] - before[name]) / unit, 2) for name in after},
        "rows": sorted(rows, key=lambda row: (row["sender"], -row["count"])),
    }


async def main(options: argparse.Namespace) -> None:
    """Every phase, and the table."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder)) as url,
    ):
        await migrate(url, url)
        observer = await connect(f"{url}&application_name={OBSERVER}")
        async with observer:
            await logging_all(observer)
            log = ServerLog(Path(folder) / "log")
            bench = Bench(url, log, FakeLoopPause(), observer, options.pauses)
            result = await phases(bench, options.idle)
    show(result)
    report("statements", result)


async def phases(bench: Bench, idle: float) -> Result:
    """Deliver with the worker off, drain, resume one by one, idle; then LangGraph alone."""
    n, looppause = bench.pauses, bench.looppause
    result: Result = {"pauses": n}
    web = Resumer(
        {"procurement": agent(looppause)},
        database_url=bench.named("web"),
        signing_secrets=[looppause.secret],
        worker=False,
    )
    worker = Resumer(
        {"procurement": agent(looppause)},
        database_url=bench.named("worker"),
        checkpoint_url=bench.named("worker-threads"),
        signing_secrets=[looppause.secret],
    )
    transport = httpx.ASGITransport(web.app)
    async with web.running(), httpx.AsyncClient(transport=transport, base_url="http://web") as http:

        async def deliver(pause_id: str) -> None:
            proof = looppause.decide(pause_id)
            (await http.post("/webhooks/looppause", json=proof)).raise_for_status()

        alone, crowd, slowly = [await bench.hibernate(n * i, n) for i in range(3)]
        baseline = await answered(bench, 3 * n)
        result["delivery, one at a time"] = await measured(bench, n, at_once(deliver, alone, 1))
        result[f"delivery, {AT_ONCE} at once"] = await measured(
            bench, n, at_once(deliver, crowd, AT_ONCE)
        )

        async def drained() -> None:
            async with worker.running():
                await bench.until_resumed(2 * n)
                result["connections of a worker"] = await connections(bench)

        result["resume, queue full"] = await measured(bench, 2 * n, drained())
        async with worker.running():

            async def one_by_one() -> None:
                for number, pause_id in enumerate(slowly, 1):
                    await deliver(pause_id)
                    await bench.until_resumed(2 * n + number)

            result["delivery and resume, one at a time"] = await measured(bench, n, one_by_one())
            result["idle minute"] = await measured(bench, idle / 60, asyncio.sleep(idle))
    async with _langgraph_pool(bench.named("langgraph")) as pool:
        graph = agent(looppause)
        graph.checkpointer = AsyncPostgresSaver(pool)

        async def resume(number: int) -> None:
            answer: Command[Any] = Command(resume=baseline[number])
            await graph.ainvoke(answer, _thread(number), durability="sync")

        result["resume, LangGraph alone"] = await measured(bench, n, at_once(resume, baseline, 1))
    return result


async def connections(bench: Bench) -> dict[str, int]:
    """Sessions by application name, while the worker runs."""
    cursor = await bench.observer.execute(CONNECTIONS)
    return {row["name"]: row["count"] for row in await cursor.fetchall()}


async def answered(bench: Bench, first: int) -> dict[int, Any]:
    """The baseline's threads, and the proof for each."""
    await bench.hibernate(first, bench.pauses)
    graph = agent(bench.looppause)
    proofs = {}
    async with _langgraph_pool(bench.named(OBSERVER)) as pool:
        graph.checkpointer = AsyncPostgresSaver(pool)
        for number in range(first, first + bench.pauses):
            state = await graph.aget_state(_thread(number))
            proofs[number] = bench.looppause.decide(state.interrupts[0].value["pause_id"])
    return proofs


def show(result: Result) -> None:
    """A table for each phase."""
    for name, phase in result.items():
        if not isinstance(phase, dict) or "rows" not in phase:
            print(f"{name}: {phase}")
            continue
        totals = {key: value for key, value in phase.items() if key != "rows"}
        print(f"\n## {name}: {totals}\n")
        print("| count | mean ms | sender | statement |\n|--:|--:|---|---|")
        for row in phase["rows"]:
            print(
                f"| {row['count']:.2f} | {row['mean_ms']:.3f} | {row['sender']} "
                f"| `{row['statement']}` |"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, default=300)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds")
    asyncio.run(main(parser.parse_args()))
