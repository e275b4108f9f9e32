"""What it costs to find a pause's thread, and to find what waits, as threads pile up.

    python3 -m uv run benchmarks/locate.py --threads 10000 1000000 10000000

Each size is a database of its own in one embedded PostgreSQL as it is shipped, so that the same
statement is timed on all sizes in turns: `locate_ms` finds random pauses one after another, in the
warm (what is read is in the machine's memory, mostly outside PostgreSQL's own 128 MB) and right
after a restart with none of the files in memory (`cold`, as far as the disk below has no memory of
its own). `page_ms` is one page of the sweep's reading of interrupts, its decoding included.

What the indexes cost whoever writes an interrupt: `aput_writes` of LangGraph's own
`AsyncPostgresSaver` (over a pool, as https://docs.langchain.com/oss/python/langgraph/persistence
sets it up) with our indexes and without, in turns, by one writer and by several. An index is
switched off in the catalog, since to drop and to build one of ten million rows each turn would
measure that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from benchmarks.hibernating import (
    Filled,
    checkpoint_id_of,
    evict,
    fill,
    interrupt,
    pause_id_of,
    timed,
    warm,
)
from benchmarks.report import milliseconds, report
from resumer.db import Connection, connect, open_pool
from resumer.embedded import embedded_postgres
from resumer.migrate import INDEXES
from resumer.model import Raised
from resumer.reconcile import PAGE
from resumer.threads import Threads

LOOKUPS = 200
ROUNDS = 10
PAGES = 50
WRITES = 80
WRITERS = 8
WRITE_TURNS = 60
RNG = random.Random(1)

SWITCH = """
update pg_index set indisready = %(on)s, indisvalid = %(on)s
where indexrelid = any(%(names)s::regclass[])
"""
WRITTEN = "benchmark"


async def main(sizes: list[int], folder: Path | None) -> None:
    """Fill a database of each size, unless that was done before, then measure them in turns."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as temporary:
        data = folder or Path(temporary)
        notes = data / "bench_seen.json"
        if not notes.exists():
            with embedded_postgres(data) as url:
                seen = {size: await fill(url, size, without_index) for size in sorted(sizes)}
            notes.write_text(json.dumps(seen))
        await asyncio.to_thread(evict, data)
        with embedded_postgres(data) as url:
            filled = json.loads(notes.read_text())
            made = [Filled(url, int(size), filled[size]) for size in filled]
            results = await measure(made, data)
    report("locate", {"sizes": results, "p99_ratio": ratio_of(results)})


def ratio_of(results: Sequence[dict[str, Any]]) -> float:
    """How much longer the slowest hundredth takes at the largest size than at the smallest."""
    first, last = (float(result["locate_ms"]["p99"]) for result in (results[0], results[-1]))
    return round(last / first, 2)


async def without_index(url: str) -> float:
    """Milliseconds of a look-up before our indexes are built."""
    async with open_pool(url, size=1, name="bench") as pool, await connect(url) as connection:
        [pause_id] = await pause_id_of(connection, [0])
        look = partial(Threads(pool).locate, pause_id)
        return round(statistics.median([await timed(look, digits=6) for _ in range(3)]) * 1000, 1)


async def measure(made: Sequence[Filled], folder: Path) -> list[dict[str, Any]]:
    """Everything, in milliseconds and megabytes, for each size."""
    cold = [milliseconds(await look_up(filled, LOOKUPS)) for filled in made]
    for filled in made:
        await warm(folder, filled.url)
    looks: list[list[float]] = [[] for _ in made]
    for number in range(ROUNDS):
        for times, filled in zip(looks, made, strict=True):
            times.extend(await look_up(filled, LOOKUPS, seed=100 + number))
    return [
        {
            "threads": filled.threads,
            "checkpoints": filled.threads + filled.threads // 2,
            "locate_ms": milliseconds(looks[at]),
            "locate_cold_ms": cold[at],
            "locate_without_index_ms": filled.seen["before"],
            **{f"{name}_index": filled.seen["indexes"][name] for name in INDEXES},
            "tables_mb": filled.seen["mb"],
            "fill_s": filled.seen["fill_s"],
            "page_ms": milliseconds(await read_pages(filled)),
            "interrupt_write": await write_cost(filled),
        }
        for at, filled in enumerate(made)
    ]


async def look_up(filled: Filled, count: int, *, seed: int = 1) -> list[float]:
    """Seconds that each of so many look-ups of random pauses took, on a new connection."""
    numbers = random.Random(seed).choices(range(filled.threads), k=count)
    async with open_pool(filled.url, size=1, name="bench") as pool:
        async with await connect(filled.url) as connection:
            pauses = await pause_id_of(connection, numbers)
        threads = Threads(pool)
        for _ in range(10):  # PostgreSQL plans a statement that is new to a connection
            await threads.locate("pause_of_nobody")
        times = []
        for pause_id in pauses:
            start = time.perf_counter()
            found = await threads.locate(pause_id)
            times.append(time.perf_counter() - start)
            assert len(found) == 1, pause_id
        return times


async def read_pages(filled: Filled) -> list[float]:
    """Seconds for each page of interrupts: some from the first, some in the middle, the last."""
    times: list[float] = []
    async with (
        open_pool(filled.url, size=1, name="bench") as pool,
        await connect(filled.url) as connection,
    ):
        threads = Threads(pool)
        for start in (0, filled.threads // 2, max(0, filled.threads - PAGES * PAGE)):
            checkpoint_id = await checkpoint_id_of(connection, start)
            last = Raised(checkpoint_id, "", "", pending=False, interrupts=())
            for _ in range(PAGES):
                began = time.perf_counter()
                page = await threads.raised_after(last, limit=PAGE)
                times.append(time.perf_counter() - began)
                if len(page) < PAGE:
                    break
                last = page[-1]
    return times


async def write_cost(filled: Filled) -> dict[str, Any]:
    """Writes with our indexes next to writes without, by one writer and by `WRITERS`."""
    one, several = _Turns(), _Turns()
    async with (
        open_pool(filled.url, size=WRITERS, name="bench") as pool,
        await connect(filled.url) as connection,
    ):
        savers = [AsyncPostgresSaver(pool) for _ in range(WRITERS)]
        await write_all(savers, WRITES)
        for number in range(WRITE_TURNS):
            for indexed in (True, False) if number % 2 else (False, True):
                async with indexes(connection, on=indexed):
                    await one.take(connection, savers[:1], indexed=indexed)
                    await several.take(connection, savers, indexed=indexed)
        await connection.execute("delete from checkpoint_writes where task_path = %s", (WRITTEN,))
    return {"one_writer": one.compared(), f"{WRITERS}_writers": several.compared()}


class _Turns:
    """Turns of writing: seconds of each write, of each turn, and bytes of log for each turn."""

    def __init__(self) -> None:
        self._writes: dict[bool, list[float]] = {True: [], False: []}
        self._turns: dict[bool, list[float]] = {True: [], False: []}
        self._bytes: dict[bool, list[float]] = {True: [], False: []}

    async def take(
        self, connection: Connection, savers: Sequence[AsyncPostgresSaver], *, indexed: bool
    ) -> None:
        before, start = await wal_bytes(connection), time.perf_counter()
        self._writes[indexed] += await write_all(savers, WRITES)
        self._turns[indexed].append(time.perf_counter() - start)
        self._bytes[indexed].append(await wal_bytes(connection) - before)

    def compared(self) -> dict[str, float]:
        """With the indexes over without: of the median write, and of the median turn."""
        writes, turns, log = (
            {on: statistics.median(each[on]) for on in (True, False)}
            for each in (self._writes, self._turns, self._bytes)
        )
        return {
            "ratio": round(turns[True] / turns[False], 3),
            "ratio_of_median_write": round(writes[True] / writes[False], 3),
            "ms_with": round(writes[True] * 1000, 3),
            "ms_without": round(writes[False] * 1000, 3),
            "log_bytes_with": round(log[True] / WRITES),
            "log_bytes_without": round(log[False] / WRITES),
        }


async def write_all(savers: Sequence[AsyncPostgresSaver], count: int) -> list[float]:
    """So many interrupts, each of a new thread, by all the savers at once; seconds of each."""
    times: list[float] = []

    async def some(saver: AsyncPostgresSaver) -> None:
        for _ in range(count // len(savers)):
            where = {
                "thread_id": str(uuid.UUID(int=RNG.getrandbits(128))),
                "checkpoint_ns": "",
                "checkpoint_id": str(uuid6()),
            }
            raised = interrupt(f"pause_{RNG.getrandbits(128):032x}")
            start = time.perf_counter()
            await saver.aput_writes(
                {"configurable": where}, [("__interrupt__", [raised])], str(uuid.uuid4()), WRITTEN
            )
            times.append(time.perf_counter() - start)

    await asyncio.gather(*(some(saver) for saver in savers))
    return times


@asynccontextmanager
async def indexes(connection: Connection, *, on: bool) -> AsyncIterator[None]:
    """With our indexes as they are, or as if there were none."""
    names = [f"resumer_{name}_idx" for name in INDEXES]
    await connection.execute(SWITCH, {"on": on, "names": names})
    try:
        yield
    finally:
        await connection.execute(SWITCH, {"on": True, "names": names})


async def wal_bytes(connection: Connection) -> float:
    """Bytes that have been written to the log since the server was made."""
    cursor = await connection.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as lsn")
    [row] = await cursor.fetchall()
    return float(row["lsn"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--folder", type=Path, help="keep the databases there, to measure them again"
    )
    given = parser.parse_args()
    asyncio.run(main(given.threads, given.folder))
