"""How much disk each table takes for each pause, and so in a year, with pruning and without.

    python3 -m uv run benchmarks/growth.py --pauses 2000

Threads of a small agent (one gate, one node behind it) hibernate in an embedded PostgreSQL, are
noted by the sweep, answered over HTTP and resumed by a worker: the code that runs in production,
with LoopPause in this process. Half of them make the tables what they are when in use; the bytes
for each pause are what the second half adds. Then all of it is pruned, and the histories of the
threads are shortened.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph

from looppause_sdk import LoopPauseClient, flow_tables
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, route_on_gate
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.archive import Archive
from resumer.db import Connection, connect, open_pool
from resumer.embedded import embedded_postgres
from resumer.histories import Histories
from resumer.locks import ThreadLocks
from resumer.migrate import migrate
from resumer.operator.exporting import Exporting
from resumer.retention import KNOWN_DAYS, Retention

HERE = Path(__file__).parent
A_DAY = 1000
A_YEAR = 365
KEPT_DAYS = 90
SETTLED_DAYS = 30
AT_ONCE = 8

SIZES = """
select
    case when relnamespace = 'looppause_flows'::regnamespace then 'flow: ' else '' end
        || relname as name,
    pg_table_size(pg_class.oid) as heap,
    pg_indexes_size(pg_class.oid) as indexes
from pg_class
where relkind = 'r'
and relnamespace in (
    'resumer'::regnamespace, 'public'::regnamespace, 'looppause_flows'::regnamespace
)
"""
DEAD = "select relname as name, n_dead_tup as dead from pg_stat_user_tables where n_dead_tup > 0"
COUNT = (
    "select count(*) as noted, count(*) filter (where state = 'resumed') as resumed"
    " from resumer.pauses"
)
QUEUE = "procrastinate_"  # its rows go when a job ends: the tables are as large as a busy hour
THREADS = ("checkpoints", "checkpoint_writes", "checkpoint_blobs")
FLOWS = ("flow: pauses", "flow: flows")


class State(TypedDict, total=False):
    """The state of the agent."""

    amount: int
    looppause: GateResult
    note: str


def agent(looppause: FakeLoopPause) -> Any:
    """Asks, then pays."""
    client = LoopPauseClient(
        "key",
        signing_secret=looppause.secret,
        http_client=httpx.Client(transport=looppause.transport),
        env={},
    )
    gate = make_interrupt_gate(
        client,
        agent_id="procurement",
        action_builder=lambda state: {
            "type": "payment",
            "description": f"Pay {state['amount']} EUR to Acme Corporation for the order",
            "details": {"amount": state["amount"], "currency": "EUR", "order": "2026-0815"},
        },
        recipients=[{"channel": "slack", "target": "#finance"}],
    )
    builder = StateGraph(State)
    builder.add_node("gate", gate)
    builder.add_node("pay", lambda state: {"note": f"paid {state['amount']}"})
    builder.add_edge(START, "gate")
    builder.add_conditional_edges("gate", route_on_gate(), {"approved": "pay", "halt": END})
    builder.add_edge("pay", END)
    return builder.compile()


async def main(pauses: int) -> None:
    """Fill in two halves, measure, prune, and project a year."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryDirectory(prefix="audit-") as audit,
        embedded_postgres(Path(folder)) as url,
    ):
        await migrate(url, url)
        looppause = FakeLoopPause()
        graph = agent(looppause)
        resumer = Resumer(
            {"procurement": graph},
            database_url=url,
            signing_secrets=[looppause.secret],
            reconcile_seconds=1,
        )
        async with resumer.running():
            await fill(url, graph, looppause, resumer, 0, pauses // 2)
            first = await sizes(url)
            await fill(url, graph, looppause, resumer, pauses // 2, pauses)
            dead = await rows(url, DEAD)
            second = await sizes(url)
        each = {
            name: {
                part: (second[name][part] - first[name][part]) / (pauses - pauses // 2)
                for part in ("heap", "indexes")
            }
            for name in second
        }
        result = {
            "pauses": pauses,
            "bytes": {
                name: parts
                for name, parts in each.items()
                if any(parts.values()) and not name.startswith(QUEUE)
            },
            "queue": sum(
                sum(parts.values()) for name, parts in second.items() if name[:14] == QUEUE
            ),
            "dead": {row["name"]: row["dead"] for row in dead},
            **await pruned(url, pauses, Path(audit)),
        }
        (HERE / "growth.json").write_text(json.dumps(result, indent=2) + "\n")
        show(result)


async def fill(
    url: str, graph: Any, looppause: FakeLoopPause, resumer: Resumer, first: int, last: int
) -> None:
    """Threads number `first` to `last` hibernate, are noted, answered and resumed; flows, too."""
    began = time.monotonic()
    async with open_pool(url, size=AT_ONCE, name="agents") as pool:

        async def hibernate(number: int) -> None:
            attached = copy.copy(graph)
            attached.checkpointer = AsyncPostgresSaver(pool)
            config = {"configurable": {"thread_id": f"thread-{number:08}"}}
            await attached.ainvoke({"amount": number}, config)

        await at_once([lambda n=n: hibernate(n) for n in range(first, last)])  # type: ignore[misc]
        await hibernating_flows(pool, first, last)
    await until_seen(url, "noted", last)
    transport = httpx.ASGITransport(resumer.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        waiting = await rows(url, "select pause_id from resumer.pauses where state = 'waiting'")

        async def deliver(pause_id: str) -> None:
            proof = looppause.decide(pause_id)
            (await http.post("/webhooks/looppause", json=proof)).raise_for_status()

        await at_once([lambda row=row: deliver(row["pause_id"]) for row in waiting])  # type: ignore[misc]
    await until_seen(url, "resumed", last)
    print(f"{last} pauses after {time.monotonic() - began:.0f} s")


async def hibernating_flows(pool: Any, first: int, last: int) -> None:
    """As many flows hibernate and go on, by the SDK's own statements."""
    state = json.dumps({"id": "x" * 36, "amount": 1, "feedback": None})
    async with pool.connection() as connection:
        for number in range(first, last):
            values = {
                "pause_id": f"pause_{number:026}",
                "flow_id": f"flow-{number:08}",
                "flow_class": "shop.flows:RefundFlow",
                "method_name": "ask",
                "agent_id": "refunds",
                "context": json.dumps({"metadata": {"looppause": {"action": {"type": "refund"}}}}),
                "state": state,
                "expires_at": None,
            }
            async with connection.transaction():  # the sweep is not to see it in between
                for name in ("save_pause", "claim", "end_pause"):
                    await connection.execute(flow_tables.statement(name), values)


async def at_once(works: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """A few at a time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await work()

    await asyncio.gather(*map(run, works))


async def until_seen(url: str, state: str, wanted: int) -> None:
    """Wait until so many pauses have come so far."""
    while True:
        [row] = await rows(url, COUNT)
        if row[state] >= wanted:
            return
        await asyncio.sleep(0.5)


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    """What the database says."""
    connection: Connection = await connect(url)
    async with connection:
        cursor = await connection.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []


async def sizes(url: str) -> dict[str, dict[str, int]]:
    """Bytes of every table and its indexes, after a vacuum as it runs by itself."""
    await rows(url, "vacuum analyze")
    return {
        row["name"]: {"heap": row["heap"], "indexes": row["indexes"]}
        for row in await rows(url, SIZES)
    }


async def pruned(url: str, pauses: int, folder: Path) -> dict[str, Any]:
    """What is left when all of it was pruned, and how long that took."""
    await rows(url, "update resumer.pauses set finished_at = finished_at - interval '100 days'")
    async with (
        open_pool(url, size=3, schema="resumer", name="own") as own,
        open_pool(url, size=3, name="threads") as theirs,
        ThreadLocks(url).running() as locks,
    ):
        retention = Retention(own, theirs, Exporting(own).named)
        began = time.monotonic()
        now = datetime.now(UTC)
        async for _ in retention.pauses(now, Archive(folder), most=pauses):
            pass
        took = time.monotonic() - began
        histories, began = Histories(own, theirs, locks), time.monotonic()
        async for thread_id in histories.settled_before(now):
            await histories.keep_latest(thread_id)
        shortened = time.monotonic() - began
    await rows(url, "vacuum full")
    left = await sizes(url)
    return {
        "prune_a_second": pauses / took,
        "shorten_a_second": pauses / shortened,
        "exported": bytes_in(folder) / pauses,
        "mark": sum(left["pruned"].values()) / pauses,
        "history_left": {name: sum(left[name].values()) / pauses for name in THREADS},
    }


def bytes_in(folder: Path) -> int:
    """Of all files."""
    return sum(file.stat().st_size for file in folder.iterdir())


def show(result: Mapping[str, Any]) -> None:
    """The table of the documentation."""
    print("| table | bytes a pause, rows + indexes | a year, all kept | a year, pruned | bound |")
    print("|---|--:|--:|--:|--:|")
    for name, parts in sorted(result["bytes"].items()):
        each = sum(parts.values())
        kept = each * A_DAY * A_YEAR
        after, bound = projected(name, each, result)
        print(
            f"| `{name}` | {parts['heap']:.0f} + {parts['indexes']:.0f} | {megabytes(kept)} "
            f"| {megabytes(after)} | {bound} |"
        )
    mark = result["mark"]
    year, most = mark * A_DAY * (A_YEAR - KEPT_DAYS), mark * A_DAY * KNOWN_DAYS
    print(f"| `pruned` | {mark:.0f} | 0 MB | {megabytes(year)} | {megabytes(most)} |")
    print(
        f"exported: {result['exported']:.0f} bytes a pause; the queue's tables at the end: "
        f"{megabytes(result['queue'])}"
    )
    print(
        f"pruned {result['prune_a_second']:.0f} pauses a second, shortened "
        f"{result['shorten_a_second']:.0f} threads a second; dead rows: {result['dead']}"
    )


def projected(name: str, each: float, result: Mapping[str, Any]) -> tuple[float, str]:
    """Bytes after a year, and where it ends."""
    if name in THREADS:
        left = result["history_left"][name]
        days = A_YEAR - SETTLED_DAYS
        return A_DAY * (each * SETTLED_DAYS + left * days), f"{left:.0f} bytes a thread"
    if name in FLOWS:
        return each * A_DAY * A_YEAR, "see below"
    kept = each * A_DAY * KEPT_DAYS
    return kept, megabytes(kept)


def megabytes(count: float) -> str:
    """As people read it."""
    return f"{count / 1e6:,.0f} MB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, default=2000)
    asyncio.run(main(parser.parse_args().pauses))
