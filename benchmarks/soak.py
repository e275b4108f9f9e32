"""An hour's load in minutes: what grows that should not, in the processes and in the tables.

    python3 -m uv run benchmarks/soak.py --minutes 6 --rate 40

One `resumer web` and one `resumer worker`, as processes of their own, over a PostgreSQL with its
settings as shipped. 40 threads a second hibernate and are answered over HTTP (in 6 minutes, what 4
a second are in an hour); one more hibernates for good. Every fifth answer comes twice, and every
25th was forged once before. The sweep runs every 10 seconds. What ended a minute ago is pruned,
written to files first, by the worker's own task, four times a minute. Every 15 seconds: memory,
open files, connections, the queue, and each table's size, live and dead rows. After a warm-up of a
third of the time, a straight line is laid through each: growth for each 1,000 pauses.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from benchmarks.asking import answer, hibernate
from benchmarks.programs import free_port
from benchmarks.replicas import replica
from benchmarks.report import report
from resumer.db import SCHEMA, Connection, connect
from resumer.embedded import embedded_postgres
from resumer.migrate import migrate

SAMPLE_SECONDS = 15.0
KEPT_DAYS = 60 / 86_400
SENT_AT_ONCE = 16
# Grow with what is kept in them: a mark for each pruned pause, and the agents' own threads.
GROWING = ("pruned", "checkpoints", "checkpoint_writes", "checkpoint_blobs")
TABLES = """
select relname as name, pg_table_size(relid) as heap, pg_indexes_size(relid) as indexes,
    n_live_tup as live, n_dead_tup as dead, autovacuum_count as vacuumed
from pg_stat_user_tables
where pg_total_relation_size(relid) > 0 and (n_tup_ins + n_tup_upd > 1000)
"""
COUNTS = """
select
    (select count(*) from procrastinate_jobs) as queue,
    (select count(*) from pauses where state = 'resumed') as resumed,
    (select count(*) from pauses where state in ('failed', 'parked')) as troubled,
    (select count(*) from pruned) as pruned,
    (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections
"""
PRUNE = """
select procrastinate_defer_jobs_v1(array[row(
    'resume', 'prune', -1, null, null, '{"timestamp": 0}'::jsonb, null
)::procrastinate_job_to_defer_v1])
"""

Sample = dict[str, Any]


@dataclass
class Bench:
    """What is running, and what was sent to it."""

    url: str
    web: str
    observer: Connection
    processes: dict[str, int]
    http: httpx.AsyncClient
    statuses: Counter[int] = field(default_factory=Counter)
    answered: int = 0

    async def send(self, pause_id: str, number: int) -> None:
        """One person's answer, as often as it comes."""
        body = answer(pause_id)
        if number % 25 == 0:
            await self._post(body.replace(b"approved", b"rejected"))
        for _ in range(2 if number % 5 == 0 else 1):
            await self._post(body)

    async def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        path = f"{self.web}/webhooks/looppause"
        self.statuses[(await self.http.post(path, content=body, headers=headers)).status_code] += 1


async def main(options: argparse.Namespace) -> None:
    """Load, look, and judge."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with embedded_postgres(folder / "pg") as url:
            await migrate(url, url)
            samples, statuses = await soaked(url, folder, options)
    show(samples)
    report("soak", {**verdict(samples), "statuses": dict(statuses), "samples": samples})


async def soaked(
    url: str, folder: Path, options: argparse.Namespace
) -> tuple[list[Sample], Counter[int]]:
    """The processes under load for the time, and what was seen of them."""
    port, audit = free_port(), folder / "audit"
    audit.mkdir()
    settings = {
        "RESUMER_RECONCILE_SECONDS": "10",
        "RESUMER_RETENTION_DAYS": f"{KEPT_DAYS:.6f}",
        "RESUMER_AUDIT_DIR": str(audit),
    }
    async with (
        replica(url, folder / "web.log", port, **settings) as web,
        replica(url, folder / "worker.log", None, **settings) as worker,
        await connect(url, schema=SCHEMA) as observer,
        httpx.AsyncClient(trust_env=False, timeout=30.0) as http,
    ):
        processes = {"web": web.pid, "worker": worker.pid}
        bench = Bench(url, f"http://127.0.0.1:{port}", observer, processes, http)
        end = time.monotonic() + options.minutes * 60
        loading = asyncio.create_task(load(bench, options.rate, end))
        samples = []
        while not loading.done():
            await asyncio.wait({loading}, timeout=SAMPLE_SECONDS)
            samples.append(await sampled(bench, options.minutes * 60 - (end - time.monotonic())))
            await observer.execute(PRUNE)
        await loading
        return samples, bench.statuses


async def load(bench: Bench, rate: int, end: float) -> None:
    """Each second so many threads hibernate, and are answered within the second."""
    slots, second = asyncio.Semaphore(SENT_AT_ONCE), 0
    began = time.monotonic()

    async def send(pause_id: str, number: int) -> None:
        async with slots:
            await bench.send(pause_id, number)

    while time.monotonic() < end:
        second += 1
        pause_ids = await hibernate(bench.url, "trivial", f"soak-{second:05}-", rate)
        await asyncio.gather(*(send(one, number) for number, one in enumerate(pause_ids, 1)))
        bench.answered += rate
        await asyncio.sleep(max(0.0, began + second - time.monotonic()))


async def sampled(bench: Bench, seconds: float) -> Sample:
    """All that is looked at, now."""
    cursor = await bench.observer.execute(COUNTS)
    counts = await cursor.fetchone() or {}
    cursor = await bench.observer.execute(TABLES)
    tables = {row.pop("name"): row for row in await cursor.fetchall()}
    sample: Sample = {"seconds": round(seconds), "answered": bench.answered, **counts}
    for name, pid in bench.processes.items():
        process = psutil.Process(pid)
        sample[f"{name}_rss"] = process.memory_info().rss
        sample[f"{name}_files"] = process.num_fds()
        sample[f"{name}_threads"] = process.num_threads()
    return {**sample, "tables": tables}


def verdict(samples: Sequence[Sample]) -> dict[str, Any]:
    """Growth for each 1,000 pauses after the warm-up, by the line of least squares."""
    warm = [one for one in samples if one["seconds"] >= samples[-1]["seconds"] / 3]
    of_processes = ("web_rss", "worker_rss", "web_files", "worker_files", "connections", "queue")
    tables = {
        name: {
            "bytes": _slope(warm, lambda one, name=name: _bytes(one, name)),  # type: ignore[misc]
            "largest": max(_bytes(one, name) for one in warm),
            "most_live": max(one["tables"][name]["live"] for one in warm),
            "most_dead": max(one["tables"][name]["dead"] for one in warm),
            "vacuumed": warm[-1]["tables"][name]["vacuumed"],
            "grows_by_design": name in GROWING,
        }
        for name in sorted(warm[-1]["tables"])
        if all(name in one["tables"] for one in warm)
    }
    return {
        "answered": samples[-1]["answered"],
        "resumed_and_kept": samples[-1]["resumed"],
        "pruned": samples[-1]["pruned"],
        "troubled": samples[-1]["troubled"],
        "growth_per_1000_pauses": {
            name: _slope(warm, lambda one, name=name: one[name])  # type: ignore[misc]
            for name in of_processes
        },
        "tables": tables,
    }


def _bytes(sample: Sample, table: str) -> int:
    return int(sample["tables"][table]["heap"] + sample["tables"][table]["indexes"])


def _slope(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    answered = [one["answered"] / 1000 for one in samples]
    return round(statistics.linear_regression(answered, [of(one) for one in samples]).slope, 2)


def show(samples: Sequence[Sample]) -> None:
    """One line for each look."""
    print("| s | answered | queue | kept | web MB | worker MB | files | connections | tables MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for one in samples:
        sizes = ", ".join(
            f"{name} {_bytes(one, name) / 1e6:.1f} ({table['live']}+{table['dead']})"
            for name, table in sorted(one["tables"].items())
            if name not in GROWING
        )
        print(
            f"| {one['seconds']} | {one['answered']} | {one['queue']} | {one['resumed']} "
            f"| {one['web_rss'] / 1e6:.1f} | {one['worker_rss'] / 1e6:.1f} "
            f"| {one['web_files']}+{one['worker_files']} | {one['connections']} | {sizes} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--rate", type=int, default=40, help="pauses a second")
    asyncio.run(main(parser.parse_args()))
