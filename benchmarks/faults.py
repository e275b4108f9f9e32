"""Every fault at once, for minutes: count what was lost and what was doubled.

    .venv/bin/python -m benchmarks.faults --threads 1000 --seed 7 --minutes 8

Several `resumer web` and `resumer worker` processes over one PostgreSQL of their own. Threads
hibernate, people answer, webhooks come five times or never, and meanwhile processes are killed,
stopped and restarted, connections cut and the database crashed. The seed chooses the threads,
their answers and the order of the faults; what a fault hits also depends on the moment. Exits
with 1 if a decision was lost, an action doubled, or a gate opened by anything but an approval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.cluster import Cluster, cluster
from tests.faults.harness import World, attacked
from tests.faults.plan import ThreadPlan, faults, threads
from tests.faults.storm import Load, ProcessFaults, retry_parked
from tests.faults.verdict import Verdict

# Threads begin in the first part of the time; the faults end when all are answered.
LOADING, STRIKING = 0.55, 0.75
SETTINGS: Any = {  # each a variable of the replicas
    "RESUMER_CONCURRENCY": "8",
    "RESUMER_DRAIN_SECONDS": "15",
    "RESUMER_RECONCILE_SECONDS": "2",
    "RESUMER_SETTLE_SECONDS": "30",
}


@dataclass
class Report:
    """What was done and what became of it."""

    seed: int
    threads: int
    started_at: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    executed: int = 0
    again: int = 0
    lost: int = 0
    doubled: int = 0
    breaks: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)


async def main(options: argparse.Namespace) -> Report:
    """One run; ends by itself within the minutes and half of one more."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    report = Report(options.seed, options.threads, f"{datetime.now(UTC):%Y-%m-%d %H:%M}Z")
    began = time.monotonic()
    async with (
        cluster(folder / "pg") as server,
        attacked(server.url, folder, seed=options.seed, **SETTINGS) as world,
    ):
        await _more_connections(world, server)
        async with asyncio.timeout(options.minutes * 60 + 30):
            await _attack(options, report, world, server)
    report.seconds = round(time.monotonic() - began, 1)
    if report.breaks or report.surprises:
        print(f"the logs of all replicas are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return report


async def _more_connections(world: World, server: Cluster) -> None:
    await world.database.rows("alter system set max_connections = 300")
    await server.crash()
    await server.start()


async def _attack(
    options: argparse.Namespace, report: Report, world: World, server: Cluster
) -> None:
    end = time.monotonic() + options.minutes * 60
    starts = [world.start("web") for _ in range(options.webs)]
    starts += [world.start("worker") for _ in range(options.workers)]
    await asyncio.gather(*starts)
    plans = threads(options.seed, options.threads)
    load = Load(world, report.faults, report.answers, report.surprises)
    striking = ProcessFaults(world, server, load.agents, report.faults, report.surprises)
    loading = asyncio.create_task(load.run(plans, seconds=options.minutes * 60 * LOADING))
    try:
        await _strike(striking, loading, options.seed, end - options.minutes * 60 * (1 - STRIKING))
        await striking.settle()
        await loading
    finally:
        loading.cancel()
        await striking.leave()
    await world.quiet(within=end - time.monotonic())
    retried = await retry_parked(world)
    _judge(report, plans, world, await world.verdict(within=max(10, end - time.monotonic())))
    report.ended["pauses parked, retried by hand"] = len(retried)


async def _strike(
    striking: ProcessFaults, loading: asyncio.Task[None], seed: int, until: float
) -> None:
    """One fault after another while threads are answered."""
    for fault, chance in faults(seed):
        if loading.done() or time.monotonic() > until:
            return
        await asyncio.sleep(chance.uniform(0.3, 2.0))
        print(f"{datetime.now(UTC):%H:%M:%S} {fault}", file=sys.stderr)
        await striking.strike(fault, chance)


def _judge(report: Report, plans: list[ThreadPlan], world: World, verdict: Verdict) -> None:
    for plan in plans:
        report.faults["graph raised"] += plan.state.get("raises", 0) > 0
        report.ended[_end_of(world, plan, verdict)] += 1
    report.executed = verdict.executed
    report.again = len(verdict.again)
    report.lost = len(verdict.lost) + len(verdict.stalled)
    report.doubled = len(verdict.doubled)
    report.breaks = verdict.breaks


def _end_of(world: World, plan: ThreadPlan, verdict: Verdict) -> str:
    actions = {key for key in world.threads[plan.thread_id].actions() if key[0] != "sibling"}
    lost = any(plan.thread_id in what for what in verdict.lost)
    if lost:
        return "approved: lost"
    return "approved: paid once" if actions else "refused or expired: nothing paid"


def show(report: Report) -> None:
    """The table of results."""
    print(f"\nseed {report.seed}, {report.threads} threads, {report.seconds:.0f} s")
    for title, counts in (
        ("fault", report.faults),
        ("delivery: answer", report.answers),
        ("threads", report.ended),
    ):
        print(f"\n{title:<60}{'times':>8}")
        for name, times in sorted(counts.items()):
            print(f"{name:<60}{times:>8}")
    print(f"\n{'actions executed':<60}{report.executed:>8}")
    print(f"{'  of them again, cut off by a fault before they were stored':<60}{report.again:>8}")
    print(f"{'lost':<60}{report.lost:>8}\n{'doubled':<60}{report.doubled:>8}")
    for what in report.breaks + report.surprises:
        print(f"BROKEN {what}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--webs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the results here too")
    return parser.parse_args()


def _run() -> int:
    options = _options()
    report = asyncio.run(main(options))
    show(report)
    if options.json:
        found: dict[str, Any] = vars(report)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if report.breaks or report.surprises else 0


if __name__ == "__main__":
    sys.exit(_run())
