"""What threads that hibernate cost: memory, threads of the system and database connections.

    python3 -m uv run benchmarks/footprint.py

The published looppause 0.1.0 waits in its polling gate, set up as the docstring of its module
`looppause_langgraph` says, in a process that runs each graph in a thread. Ours hibernate at the
interrupt gate: one process starts them all over one pool, and `resumer serve` has noted them all
and waits for their answers. Each process is looked at before, and at every size once it is quiet;
the cost of one thread is the difference between the last two sizes, divided by how many came in
between. Both ask the emulator of this repository, which is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from benchmarks.gated_agent import ours, theirs
from benchmarks.programs import compiled_in, footprint, free_port, program, ready, resumer
from benchmarks.report import report
from looppause_sdk.testing import FakeLoopPause
from resumer.db import Connection, connect, open_pool
from resumer.embedded import embedded_postgres
from resumer.emulator import Emulator
from resumer.migrate import migrate
from resumer.serving import serving

GRAPH = "procurement=benchmarks.gated_agent:ours"
POOL = 4
AT_ONCE = 8
QUIET_SECONDS = 3.0
SWEEP_SECONDS = 5  # as shipped it is 60: every size would take a minute longer

CONNECTIONS = """
select count(*) as count from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
KNOWN = "select count(*) as count from resumer.pauses where state = 'waiting'"


class Agent:
    """A process that starts as many threads as it is told to, and says when they wait."""

    def __init__(self, kind: str, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (this script)
            [sys.executable, __file__, "--agent", kind],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def start(self, first: int, last: int) -> None:
        """Start the threads from `first` up to `last`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{first} {last}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "waiting\n"

    def kill(self) -> None:
        """End it: a thread that polls ends with its process only."""
        self._process.kill()
        self._process.communicate()


async def main(options: argparse.Namespace) -> None:
    """Theirs, then ours: each is alone while it is looked at."""
    async with AsyncExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        database = stack.enter_context(embedded_postgres(folder / "postgres"))
        await migrate(database, database)
        emulator = Emulator(FakeLoopPause(api_key="key"))
        await stack.enter_async_context(emulator.running())
        url = await stack.enter_async_context(serving(emulator.app))
        port = free_port()
        env = {
            **compiled_in(folder / "bytecode"),
            "LOOPPAUSE_API_KEY": "key",
            "LOOPPAUSE_API_URL": url,
            "LOOPPAUSE_SIGNING_SECRET": emulator.fake.secret,
            "LOOPPAUSE_WEBHOOK_URL": f"http://127.0.0.1:{port}/webhooks/looppause",
            "RESUMER_DATABASE_URL": database,
            "RESUMER_RECONCILE_SECONDS": str(SWEEP_SECONDS),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        result = {"polling_gate_of_0_1_0": await _theirs(env, options.polling)}
        serve = program(resumer("serve", "--port", str(port), "--graph", GRAPH), env)
        process = stack.enter_context(serve)
        await asyncio.to_thread(ready, process, f"http://127.0.0.1:{port}/readyz")
        connection = await stack.enter_async_context(await connect(database))
        result |= await _ours(env, connection, process.pid, options.hibernating)
    report("footprint", result)


async def _theirs(env: Mapping[str, str], sizes: Sequence[int]) -> dict[str, Any]:
    agent = Agent("theirs", env)
    try:
        seen = await _seen(agent, sizes, {"agent": agent.pid}, _nothing)
    finally:
        agent.kill()
    return dict(seen["agent"])


async def _ours(
    env: Mapping[str, str], connection: Connection, server: int, sizes: Sequence[int]
) -> dict[str, Any]:
    """The agent's process, the server's, and all their connections to the database."""
    connections: dict[int, int] = {}

    async def noted(size: int) -> None:
        await _noted(connection, size)
        [row] = await (await connection.execute(CONNECTIONS)).fetchall()
        connections[size] = row["count"]

    agent = Agent("ours", env)
    try:
        pids = {"agent": agent.pid, "resumer serve": server}
        seen = await _seen(agent, sizes, pids, noted)
    finally:
        agent.kill()
    return {**seen, "database_connections": connections}


async def _seen(
    agent: Agent,
    sizes: Sequence[int],
    pids: Mapping[str, int],
    settled: Callable[[int], Awaitable[None]],
) -> dict[str, Any]:
    """Each process at each size, and what a thread adds to it."""
    found: dict[str, dict[int, Any]] = {name: {} for name in pids}
    before = 0
    for size in (0, *sizes):
        await asyncio.to_thread(agent.start, before, size)
        await settled(size)
        await asyncio.sleep(QUIET_SECONDS)
        before = size
        for name, pid in pids.items():
            found[name][size] = asdict(footprint(pid))
    return {name: {"at": at, "each_thread": _each(at, sizes)} for name, at in found.items()}


def _each(at: Mapping[int, Mapping[str, int]], sizes: Sequence[int]) -> dict[str, float]:
    fewer, last = at[sizes[-2]], at[sizes[-1]]
    more = sizes[-1] - sizes[-2]
    return {what: round((last[what] - fewer[what]) / more, 3) for what in last}


async def _nothing(_size: int) -> None:
    """Whoever polls is known to nobody."""


async def _noted(connection: Connection, size: int) -> None:
    """Until the sweep has noted so many."""
    for _ in range(600):
        row = await (await connection.execute(KNOWN)).fetchone()
        if row and row["count"] >= size:
            return
        await asyncio.sleep(0.2)
    raise SystemExit(f"the sweep has not noted {size} threads within two minutes")


# -- the agents' processes -------------------------------------------------------------------


def polling() -> None:
    """As many threads of the system as it is told to; each waits in its graph."""
    graph = theirs()
    for first, last in _orders():
        for number in range(first, last):
            threading.Thread(target=graph.invoke, args=({"key": f"theirs-{number}"},)).start()
        print("waiting", flush=True)


async def hibernating() -> None:
    """As many LangGraph threads as it is told to, a few at once."""
    async with open_pool(os.environ["RESUMER_DATABASE_URL"], size=POOL, name="agent") as pool:
        saver = AsyncPostgresSaver(pool)
        graph = ours(saver)
        orders = _orders()
        while (order := await asyncio.to_thread(next, orders, None)) is not None:
            numbers = iter(range(*order))
            await asyncio.gather(*(_hibernate(graph, numbers) for _ in range(AT_ONCE)))
            print("waiting", flush=True)


async def _hibernate(graph: Any, numbers: Iterator[int]) -> None:
    for number in numbers:
        key = f"ours-{number}"
        await graph.ainvoke({"key": key}, {"configurable": {"thread_id": key}})


def _orders() -> Iterator[tuple[int, int]]:
    for line in sys.stdin:
        first, last = map(int, line.split())
        yield first, last


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polling", type=int, nargs="+", default=[50, 200], help="0.1.0's")
    parser.add_argument("--hibernating", type=int, nargs="+", default=[200, 1000, 10_000])
    parser.add_argument("--agent", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.agent == "theirs":
        polling()
    else:
        asyncio.run(hibernating() if given.agent else main(given))
