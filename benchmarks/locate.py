"""What it costs to find a pause's thread, and to find what waits, as threads pile up.

    python3 -m uv run benchmarks/locate.py --threads 100000 1000000

Fills the checkpointer's own tables with hibernating threads (and as many that have moved on),
builds the indexes as `resumer migrate` does, and times each statement against the same one
without its index, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt

from resumer.db import Connection, connect, open_pool
from resumer.embedded import embedded_postgres
from resumer.migrate import migrate
from resumer.sql import statement
from resumer.threads import Threads

LOOKUPS = 300
PAGE = 500
HERE = Path(__file__).parent

FILL = """
with ids as (
    select n, lpad(n::text, 12, '0') as name,
        '1f1e68e5-' || lpad(to_hex(n / 65536), 4, '0') || '-6' || lpad(to_hex(n %% 4096), 3, '0')
            || '-8000-' || lpad(n::text, 12, '0') as checkpoint_id
    from generate_series(%(first)s::int, %(last)s::int) as n
),
stored as (
    insert into checkpoints (thread_id, checkpoint_id, type, checkpoint, metadata)
    select 'thread-' || name, checkpoint_id, 'json', '{"v": 4, "channel_versions": {}}', '{}'
    from ids
),
moved_on as (
    insert into checkpoints (thread_id, checkpoint_id, type, checkpoint, metadata)
    select 'thread-' || name, 'f' || checkpoint_id, 'json', '{"v": 4, "channel_versions": {}}', '{}'
    from ids where n %% 2 = 1
)
insert into checkpoint_writes
    (thread_id, checkpoint_id, task_id, idx, channel, type, blob, task_path)
select 'thread-' || name, checkpoint_id, 'task-' || name, -3, '__interrupt__', 'msgpack',
    overlay(%(blob)s::bytea placing convert_to(name, 'UTF8') from %(at)s::int), ''
from ids
"""


async def main(sizes: list[int]) -> None:
    """Fill up to each size in turn and measure there."""
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder)) as url,
    ):
        await migrate(url, url)
        async with await connect(url) as connection:
            for filled, size in pairwise([0, *sorted(sizes)]):
                await fill(connection, filled, size)
                results.append(await measure(connection, url, size))
                show(results[-1])
    (HERE / "locate.json").write_text(json.dumps(results, indent=2) + "\n")


async def fill(connection: Connection, first: int, last: int) -> None:
    """Threads number `first` to `last`: each hibernated once, every other has moved on since."""
    value = {
        "pause_id": "pause_" + "0" * 12,
        "agent_id": "procurement",
        "action": {"type": "payment", "description": "Pay 12450 EUR to Acme Corp"},
        "action_digest": "0" * 64,
        "expires_at": "2026-11-23T16:16:10Z",
    }
    blob = JsonPlusSerializer().dumps_typed([Interrupt(value=value, id="0" * 32)])[1]
    at = blob.index(b"pause_" + b"0" * 12) + len("pause_") + 1
    for start in range(first, last, 100_000):
        end = min(start + 100_000, last) - 1
        await connection.execute(FILL, {"first": start, "last": end, "blob": blob, "at": at})
    await connection.execute("vacuum (analyze) checkpoint_writes")
    await connection.execute("vacuum (analyze) checkpoints")


async def measure(connection: Connection, url: str, size: int) -> dict[str, Any]:
    """Times in milliseconds, at this size."""
    result: dict[str, Any] = {"threads": size, "checkpoints": size + size // 2}
    for name in ("locate", "waiting"):
        await connection.execute(f"drop index resumer_{name}_idx")
    async with open_pool(url, size=2, name="bench") as pool:
        threads = Threads(pool)
        step = max(1, size // LOOKUPS)
        pauses = [f"pause_{number:012d}" for number in range(0, size, step)][:LOOKUPS]
        without = [await timed(lambda: threads.locate(pauses[-1])) for _ in range(3)]
        for name in ("locate", "waiting"):
            script = statement(f"{name}_index")
            built = await timed(partial(connection.execute, script))
            cursor = await connection.execute(
                f"select pg_relation_size('resumer_{name}_idx') / 1048576.0 as mb"
            )
            row = await cursor.fetchone()
            result[f"{name}_index"] = {
                "build_s": round(built / 1000, 1),
                "mb": round(float(row["mb"]), 1) if row else None,
            }
        await connection.execute("analyze checkpoint_writes")
        found = [await timed(partial(threads.locate, pause)) for pause in pauses]
        result["locate_ms"] = percentiles(found)
        result["locate_without_index_ms"] = round(statistics.median(without), 1)
        pages, waiting = await read_pages(threads)
        result["page_ms"] = percentiles(pages)
        result["pages"], result["waiting"] = len(pages), waiting
        result["full_reading_s"] = round(sum(pages) / 1000, 1)
    return result


async def read_pages(threads: Threads) -> tuple[list[float], int]:
    """Read every interrupt, page by page, as the sweep's full reading does."""
    last, pages, waiting = None, [], 0
    while True:
        start = time.perf_counter()
        page = await threads.raised_after(last, limit=PAGE)
        pages.append((time.perf_counter() - start) * 1000)
        waiting += sum(raised.pending for raised in page)
        if len(page) < PAGE:
            return pages, waiting
        last = page[-1]


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    await work()
    return (time.perf_counter() - start) * 1000


def percentiles(times: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(times)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
    }


def show(result: dict[str, Any]) -> None:
    """One block for each size."""
    ratio = result["locate_without_index_ms"] / result["locate_ms"]["p50"]
    print(f"{result['threads']:>10,} threads, {result['checkpoints']:,} checkpoints")
    print(f"  locate       {result['locate_ms']}  {ratio:,.0f} times faster than without index")
    print(f"  locate index {result['locate_index']}, waiting index {result['waiting_index']}")
    print(f"  page of {PAGE}  {result['page_ms']}")
    print(f"  full reading {result['pages']} pages, {result['full_reading_s']} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[10_000, 100_000])
    asyncio.run(main(parser.parse_args().threads))
