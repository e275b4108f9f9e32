"""How fast one worker resumes, beside LangGraph alone.

    python3 -m uv run benchmarks/resume.py --threads 300 --rounds 4

Threads hibernate at a gate, and their answers lie ready. In turns, in one process and ten at once,
over one PostgreSQL and with `durability="sync"`, as the worker runs graphs:

- `slots`: `graph.ainvoke(Command(resume=...))` with a saver for each slot over one pool, the
  fastest arrangement known of LangGraph alone; it knows each thread and locks nothing;
- `shared`: the same with one saver for all, as most people write it
  (https://docs.langchain.com/oss/python/langgraph/persistence);
- `worker`: Resumer's, which fetches the job, finds the thread, locks it, looks at it, resumes it,
  looks again and stores the outcome.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks import asking
from benchmarks.report import report
from resumer import Resumer
from resumer.db import connect
from resumer.embedded import embedded_postgres
from resumer.migrate import migrate
from resumer.processes import settle_memory
from resumer.settings import Settings
from resumer.telemetry import log_to

ASLEEP = """
select thread_id, task_id, type, blob from checkpoint_writes
where channel = '__interrupt__' and starts_with(thread_id, %s) and thread_id <> %s
"""
WORKED = """
select extract(epoch from max(finished_at) - min(started_at))::float as seconds,
    count(*) filter (where outcome = 'resumed') as resumed
from resumer.pauses where pause_id = any(%s)
"""


async def main(threads: int, rounds: int) -> None:
    """Each in turn, `rounds` times: what slows the machine down slows all of them."""
    log_to(StringIO())  # written, as a worker does
    rates: dict[str, list[float]] = {"slots": [], "shared": [], "worker": []}
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder)) as url,
    ):
        await migrate(url, url)
        settings = Settings(
            graphs={"trivial": asking.trivial},
            database_url=url,
            signing_secrets=(asking.SECRET,),
        )
        for number in range(rounds + 1):
            settle_memory()
            for name, found in rates.items():
                prefix = f"{name}-{number}-"
                if name == "worker":
                    seconds = await by_worker(settings, prefix, threads)
                else:
                    seconds = await by_hand(settings, prefix, threads, shared=name == "shared")
                if number:  # the first is a warming up
                    found.append(threads / seconds)
    ratios = {
        f"worker_to_{other}": statistics.median(
            ours / theirs for ours, theirs in zip(rates["worker"], rates[other], strict=True)
        )
        for other in ("slots", "shared")
    }
    report(
        "resume",
        {
            "threads": threads,
            "rounds": rounds,
            "at_once": settings.concurrency,
            "resumes_per_second": {n: round(statistics.median(v), 1) for n, v in rates.items()},
            "ratio": {name: round(ratio, 3) for name, ratio in ratios.items()},
        },
    )


async def by_hand(settings: Settings, prefix: str, threads: int, *, shared: bool) -> float:
    """Seconds for LangGraph alone."""
    url, slots = settings.database_url, settings.concurrency
    await asking.hibernate(url, "trivial", prefix, threads)
    waiting = await _asleep(url, prefix)
    assert len(waiting) == threads
    wanted = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    made: Any = AsyncConnectionPool  # of dictionaries, by its `kwargs`
    async with made(url, min_size=slots, max_size=slots, kwargs=wanted) as pool:
        saver = AsyncPostgresSaver(pool)
        savers = [saver if shared else AsyncPostgresSaver(pool) for _ in range(slots)]
        queue = iter(waiting)
        start = time.perf_counter()
        await asyncio.gather(*(_slot(saver, queue) for saver in savers))
        return time.perf_counter() - start


async def _slot(saver: AsyncPostgresSaver, queue: Any) -> None:
    graph = copy.copy(asking.trivial)
    graph.checkpointer = saver
    for thread_id, interrupt in queue:
        answer = json.loads(asking.answer(interrupt.value["pause_id"]))
        state = await graph.ainvoke(
            Command(resume={interrupt.id: answer}),
            {"configurable": {"thread_id": thread_id}},
            durability="sync",
        )
        assert state.get("note") == "paid 12450", state


async def _asleep(url: str, prefix: str) -> Sequence[tuple[str, Any]]:
    async with await connect(url) as connection:
        cursor = await connection.execute(ASLEEP, (prefix, prefix))
        serde = AsyncPostgresSaver(connection).serde
        return [
            (row["thread_id"], serde.loads_typed((row["type"], row["blob"]))[0])
            for row in await cursor.fetchall()
        ]


async def by_worker(settings: Settings, prefix: str, threads: int) -> float:
    """Seconds from the first resume to the end of the last."""
    url = settings.database_url
    pause_ids = await asking.hibernate(url, "trivial", prefix, threads)
    await asking.record(url, pause_ids)
    async with Resumer(settings=settings).running(), await connect(url) as connection:
        while True:
            cursor = await connection.execute(WORKED, (pause_ids,))
            row = await cursor.fetchone()
            assert row is not None
            if row["resumed"] == threads:
                return float(row["seconds"])
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    asyncio.run(main(given.threads, given.rounds))
