"""What more processes add: workers that drain answered pauses, web processes that take proofs.

    python3 -m uv run benchmarks/scaling.py --workers 1,2,4 --rounds 3

1, 2 and 4 `resumer worker` processes, as shipped (10 resumes at once each), over one PostgreSQL of
its own with fsync. First they drain pauses of a graph with one gate and a node that does nothing,
which costs nothing but what resuming costs; then pauses of graphs whose node waits 0.2 s, as for an
API, and 1 s, as for a short answer of a model. The jobs are released once all workers have started.
Then 1 and 2 `resumer web` processes take signed proofs over 32 connections together. Who uses the
processors meanwhile is read from /proc, so that what saturates can be named. The baseline is one
process, in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from benchmarks.asking import GRAPHS, answer, hibernate, paid, record
from benchmarks.load import post, request
from benchmarks.programs import free_port
from benchmarks.replicas import PATIENCE, replica
from benchmarks.report import report
from resumer.db import SCHEMA, Connection, connect
from resumer.embedded import embedded_postgres
from resumer.migrate import migrate

CONNECTIONS = 32
PUT_OFF = """
update resumer.procrastinate_jobs set scheduled_at = now() + interval '1 day'
where task_name = 'resume'
"""
RELEASE = """
with released as (
    update resumer.procrastinate_jobs as job set scheduled_at = null
    from resumer.pauses where pauses.pause_id = job.lock and job.lock = any(%(pause_ids)s)
    returning job.id
)
select pg_notify('procrastinate_queue_v1#resume', json_build_object(
    'type', 'job_inserted', 'job_id', max(id)
)::text) from released
"""
LEFT = "select count(*) as n from resumer.procrastinate_jobs where lock = any(%(pause_ids)s)"
CONNECTED = """
select count(*) as n from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@dataclass
class Cpu:
    """Seconds of processor time: of our processes, of PostgreSQL's, of the machine."""

    ours: float
    postgres: float
    machine: float
    at: float


@dataclass
class Bench:
    """One database, and its server's process."""

    url: str
    postmaster: psutil.Process
    observer: Connection
    folder: Path

    def cpu(self, processes: Sequence[asyncio.subprocess.Process]) -> Cpu:
        """Up to now."""
        times = psutil.cpu_times()
        server = self.postmaster.cpu_times()
        backends = [_used(child) for child in self.postmaster.children()]
        return Cpu(
            ours=sum(_used(psutil.Process(one.pid)) for one in processes),
            postgres=sum(server[:4]) + sum(backends),
            machine=sum(times) - times.idle - times.iowait,
            at=time.perf_counter(),
        )


def _used(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


async def main(options: argparse.Namespace) -> None:
    """All counts in turns, round after round."""
    rounds: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder) / "pg") as url,
    ):
        await migrate(url, url)
        pid = int((Path(folder) / "pg" / "postmaster.pid").read_text().split()[0])
        async with await connect(url, schema=f"{SCHEMA},public") as observer:
            bench = Bench(url, psutil.Process(pid), observer, Path(folder))
            for number in range(options.rounds):
                found: dict[str, Any] = {}
                for count in options.workers:
                    sizes = {name: getattr(options, name) for name in GRAPHS}
                    found |= await drained(bench, number, count, sizes)
                for count in options.webs:
                    found[f"acks {count}"] = await acked(bench, count, options.seconds)
                rounds.append(found)
                print(f"round {number + 1}: {found}", flush=True)
    report("scaling", {"cores": os.cpu_count(), "options": vars(options), **_median(rounds)})


async def drained(
    bench: Bench, number: int, count: int, sizes: dict[str, int]
) -> dict[str, dict[str, float]]:
    """What so many workers do of each series."""
    prefixes = {name: f"{name}-{number}-{count}-" for name in sizes}
    ids = {
        name: await hibernate(bench.url, name, prefixes[name], size) for name, size in sizes.items()
    }
    for pause_ids in ids.values():
        await record(bench.url, pause_ids)
    await bench.observer.execute(PUT_OFF)
    await bench.observer.execute("analyze")
    async with AsyncExitStack() as stack:
        workers = await asyncio.gather(
            *(
                stack.enter_async_context(replica(bench.url, bench.folder / f"worker-{n}.log"))
                for n in range(count)
            )
        )
        return {
            f"{name} {count}": await _drain(bench, workers, pause_ids, prefixes[name])
            for name, pause_ids in ids.items()
        }


async def _drain(
    bench: Bench,
    workers: Sequence[asyncio.subprocess.Process],
    pause_ids: Sequence[str],
    prefix: str,
) -> dict[str, float]:
    wanted = {"pause_ids": list(pause_ids)}
    before = bench.cpu(workers)
    await bench.observer.execute(RELEASE, wanted)
    async with asyncio.timeout(PATIENCE):
        while await _one(bench, LEFT, wanted):  # noqa: ASYNC110  (done by other processes)
            await asyncio.sleep(0.05)
    after = bench.cpu(workers)
    connections = await _one(bench, CONNECTED, {})
    assert await paid(bench.observer, prefix) == len(pause_ids), "a thread was not resumed"
    return {**_rates(before, after, len(pause_ids)), "connections": connections}


async def _one(bench: Bench, query: str, parameters: dict[str, Any]) -> int:
    cursor = await bench.observer.execute(query.encode(), parameters)
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


def _rates(before: Cpu, after: Cpu, done: int) -> dict[str, float]:
    seconds = after.at - before.at
    return {
        "per_second": round(done / seconds, 1),
        "our_cores": round((after.ours - before.ours) / seconds, 2),
        "postgres_cores": round((after.postgres - before.postgres) / seconds, 2),
        "machine_cores": round((after.machine - before.machine) / seconds, 2),
        "our_ms_each": round((after.ours - before.ours) / done * 1000, 2),
        "postgres_ms_each": round((after.postgres - before.postgres) / done * 1000, 2),
    }


async def acked(bench: Bench, count: int, seconds: float) -> dict[str, float]:
    """What so many web processes take, loaded together."""
    async with AsyncExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        webs = await asyncio.gather(
            *(
                stack.enter_async_context(replica(bench.url, bench.folder / f"{port}.log", port))
                for port in ports
            )
        )
        urls = [f"http://127.0.0.1:{port}/webhooks/looppause" for port in ports]
        await asyncio.gather(*(post(url, _proofs(url), connections=2, seconds=0.5) for url in urls))
        before = bench.cpu(webs)
        loads = await asyncio.gather(
            *(
                post(url, _proofs(url), connections=CONNECTIONS // count, seconds=seconds)
                for url in urls
            )
        )
        after = bench.cpu(webs)
    statuses = sum((load.statuses for load in loads), start=type(loads[0].statuses)())
    assert set(statuses) == {202}, statuses
    await bench.observer.execute("truncate resumer.procrastinate_jobs, resumer.pauses cascade")
    return {
        **_rates(before, after, sum(len(load.times) for load in loads)),
        "p99_ms": round(max(load.percentile(0.99) for load in loads), 1),
    }


def _proofs(url: str) -> Iterator[bytes]:
    while True:
        yield request(url, answer(f"pause_{os.urandom(13).hex()}"))


def _median(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure, and of each round's ratio to one process."""
    result: dict[str, Any] = defaultdict(dict)
    for name in rounds[0]:
        series, _, count = name.partition(" ")
        figures = {
            figure: statistics.median(one[name][figure] for one in rounds)
            for figure in rounds[0][name]
        }
        ratios = [one[name]["per_second"] / one[f"{series} 1"]["per_second"] for one in rounds]
        result[series][count] = {"ratio": round(statistics.median(ratios), 2), **figures}
    return dict(result)


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=_counts, default=[1, 2, 4], help="as 1,2,4")
    parser.add_argument("--webs", type=_counts, default=[1, 2], help="as 1,2; empty for none")
    parser.add_argument("--trivial", type=int, default=400, help="pauses")
    parser.add_argument("--api", type=int, default=150, help="pauses")
    parser.add_argument("--model", type=int, default=120, help="pauses")
    parser.add_argument("--seconds", type=float, default=5.0, help="of proofs")
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(main(parser.parse_args()))
