"""How long after a person's answer the graph goes on: by webhook, and by 0.1.0's polling gate.

    python3 -m uv run benchmarks/polling.py

Both ask the emulator of this repository, and from the moment it has the answer to the node behind
the gate is what counts. The published looppause 0.1.0 is set up as the docstring of its module
`looppause_langgraph` says: `make_polling_gate`, whose defaults look 2 s after the first look, then
after twice as long each time, up to 30 s. Its threads wait side by side and are answered one after
another, evenly over the time and at random within its share. Meanwhile ours are answered one at a
time: a thread hibernates, `resumer serve` is sent the webhook and resumes it. The machine is idle
but for that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from benchmarks.gated_agent import ours, theirs
from benchmarks.programs import compiled_in, free_port, program, ready, resumer
from benchmarks.report import percentile, report
from looppause_sdk.testing import FakeLoopPause
from resumer.db import open_pool
from resumer.embedded import embedded_postgres
from resumer.emulator import Emulator
from resumer.migrate import migrate
from resumer.serving import serving

FIRST_ANSWER = 10.0  # seconds: people need to read
LONGEST_POLL = 30.0


class Clock:
    """When each key was answered, and when its node ran; seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.answered: dict[str, float] = {}
        self._ran: dict[str, asyncio.Future[float]] = {}

    async def listen(self, stack: AsyncExitStack, path: str) -> None:
        """Take what the nodes tell."""
        loop = asyncio.get_running_loop()
        clock = self

        class Told(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _addr: Any) -> None:
                key, moment = json.loads(data)
                clock.ran(key).set_result(moment)

        endpoint = loop.create_datagram_endpoint(Told, local_addr=path, family=socket.AF_UNIX)
        transport, _ = await endpoint
        stack.callback(transport.close)

    def ran(self, key: str) -> asyncio.Future[float]:
        """Done when the node behind this thread's gate has run."""
        return self._ran.setdefault(key, asyncio.get_running_loop().create_future())

    async def latency(self, key: str) -> float:
        """Seconds from the answer to the node."""
        return await self.ran(key) - self.answered[key]


class People:
    """Who is asked, by the thread's key: they answer when they are told to."""

    def __init__(self, fake: FakeLoopPause, clock: Clock) -> None:
        self._fake, self._clock = fake, clock
        self._asked: dict[str, str] = {}
        fake.listeners.append(self._note)

    def _note(self, document: dict[str, Any]) -> None:
        self._asked[document["request"]["action"]["details"]["key"]] = document["pause_id"]

    def answer(self, key: str) -> None:
        """Approve what this thread has asked."""
        self._clock.answered[key] = time.monotonic()
        self._fake.decide(self._asked[key])


async def main(options: argparse.Namespace) -> None:
    """Both at once: theirs sleep most of the time."""
    async with AsyncExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        database = stack.enter_context(embedded_postgres(folder / "postgres"))
        await migrate(database, database)
        clock = Clock()
        await clock.listen(stack, str(folder / "told"))
        emulator = Emulator(FakeLoopPause(api_key="key"))
        await stack.enter_async_context(emulator.running())
        url = await stack.enter_async_context(serving(emulator.app))
        port = free_port()
        given = {
            "LOOPPAUSE_API_KEY": "key",
            "LOOPPAUSE_API_URL": url,
            "LOOPPAUSE_SIGNING_SECRET": emulator.fake.secret,
            "LOOPPAUSE_WEBHOOK_URL": f"http://127.0.0.1:{port}/webhooks/looppause",
            "RESUMER_DATABASE_URL": database,
            "BENCH_TOLD": str(folder / "told"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        os.environ.update(given)
        env = {**compiled_in(folder / "bytecode"), **given}
        people = People(emulator.fake, clock)
        started = (resumer("serve", "--port", str(port), "--graph", GRAPH), env)
        process = stack.enter_context(program(*started))
        await asyncio.to_thread(ready, process, f"http://127.0.0.1:{port}/readyz")
        stack.enter_context(
            program([sys.executable, __file__, "--wait", str(options.threads)], env)
        )
        waking = asyncio.create_task(_ours(database, clock, people, options.resumes))
        polled = await _theirs(clock, people, options)
        result = _result(polled, await waking, options)
    report("polling", result)


GRAPH = "procurement=benchmarks.gated_agent:ours"


async def _theirs(clock: Clock, people: People, options: argparse.Namespace) -> list[float]:
    chance = random.Random(options.seed)
    share = (options.seconds - FIRST_ANSWER) / options.threads

    async def answered(number: int) -> float:
        key = f"theirs-{number}"
        await asyncio.sleep(FIRST_ANSWER + share * (number + chance.random()))
        people.answer(key)
        return await clock.latency(key)

    return await asyncio.gather(*map(answered, range(options.threads)))


async def _ours(database: str, clock: Clock, people: People, count: int) -> list[float]:
    async with open_pool(database, size=2, name="agent") as pool:
        graph = ours(AsyncPostgresSaver(pool))
        return [await _woken(graph, f"ours-{number}", clock, people) for number in range(count)]


async def _woken(graph: Any, key: str, clock: Clock, people: People) -> float:
    await graph.ainvoke({"key": key}, {"configurable": {"thread_id": key}})
    await asyncio.sleep(0.5)  # nothing else is done when the answer comes
    people.answer(key)
    return await clock.latency(key)


def _result(polled: list[float], woken: list[float], options: argparse.Namespace) -> dict[str, Any]:
    ratio = statistics.median(polled) / statistics.median(woken)
    return {
        "theirs": {
            "threads": len(polled),
            "answered_within_s": [FIRST_ANSWER, options.seconds],
            "p50_s": round(statistics.median(polled), 2),
            "min_s": round(min(polled), 2),
            "max_s": round(max(polled), 2),
            "expected_for_long_waits_s": LONGEST_POLL / 2,
        },
        "ours": {
            "threads": len(woken),
            "p50_ms": round(statistics.median(woken) * 1000, 1),
            "p99_ms": round(percentile(woken, 0.99) * 1000, 1),
            "max_ms": round(max(woken) * 1000, 1),
        },
        "times_faster": round(ratio),
    }


def wait(count: int) -> None:
    """The agent of 0.1.0: a thread for each run that waits."""
    graph = theirs()
    for number in range(count):
        threading.Thread(target=graph.invoke, args=({"key": f"theirs-{number}"},)).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=12, help="threads of 0.1.0")
    parser.add_argument("--seconds", type=float, default=100.0, help="until the last is answered")
    parser.add_argument("--resumes", type=int, default=60, help="threads of ours")
    parser.add_argument("--seed", type=int, default=7, help="chooses when 0.1.0's are answered")
    parser.add_argument("--wait", type=int, help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.wait:
        wait(found.wait)
    else:
        asyncio.run(main(found))
