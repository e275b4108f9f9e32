"""How long after a delivery the graph goes on, beside a handler that runs the graph itself.

    python3 -m uv run benchmarks/wakeup.py --threads 200

A thread hibernates, nothing else happens, its answer is POSTed, and the node behind the gate tells
when it runs. In turns to `resumer serve` and to a handler as one writes it by hand: it verifies the
proof, and calls `graph.ainvoke(Command(resume=...))` in the request for the thread that the URL
names. That one loses the decision when it crashes, and doubles it when it is delivered twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.gated_agent import ours
from benchmarks.polling import Clock
from benchmarks.programs import compiled_in, free_port, program, ready, resumer
from benchmarks.report import percentile, report
from looppause_sdk import LoopPauseClient
from looppause_sdk.proof import verify
from looppause_sdk.testing import FakeLoopPause
from resumer.db import open_pool
from resumer.embedded import embedded_postgres
from resumer.migrate import migrate
from resumer.processes import settle_memory
from resumer.serving import serving

SECRET = "whsec_for_the_benchmark_and_nothing_else"  # noqa: S105  (of no use elsewhere)
GRAPH = "procurement=benchmarks.gated_agent:ours"
IDLE_SECONDS = 0.2
WARM = 20


async def main(threads: int) -> None:
    """One thread after another, for each receiver in turn."""
    fake = FakeLoopPause(secret=SECRET)
    client = LoopPauseClient(
        "key", signing_secret=SECRET, http_client=httpx.Client(transport=fake.transport), env={}
    )
    times: dict[str, list[float]] = {"resumer": [], "handler": []}
    async with AsyncExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        database = stack.enter_context(embedded_postgres(folder / "postgres"))
        await migrate(database, database)
        clock = Clock()
        await clock.listen(stack, str(folder / "told"))
        env = {
            **compiled_in(folder / "bytecode"),
            "RESUMER_DATABASE_URL": database,
            "LOOPPAUSE_SIGNING_SECRET": SECRET,
            "LOOPPAUSE_API_KEY": "key",
            "LOOPPAUSE_API_URL": "http://127.0.0.1:9",  # nobody is asked
            "BENCH_TOLD": str(folder / "told"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        urls = {}
        for name, command, path in (
            ("resumer", lambda port: resumer("serve", "--port", port, "--graph", GRAPH), "readyz"),
            ("handler", lambda port: [sys.executable, __file__, "--serve", port], "ready"),
        ):
            port = str(free_port())
            urls[name] = f"http://127.0.0.1:{port}"
            process = stack.enter_context(program(command(port), env))
            await asyncio.to_thread(ready, process, f"{urls[name]}/{path}")
        hooks = {
            "resumer": f"{urls['resumer']}/webhooks/looppause",
            "handler": f"{urls['handler']}/threads/",
        }
        pool = await stack.enter_async_context(open_pool(database, size=2, name="agent"))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        graph = ours(AsyncPostgresSaver(pool), client)
        for number in range(WARM + threads):
            for name, hook in hooks.items():
                key = f"{name}-{number}"
                config = {"configurable": {"thread_id": key}}
                asked = await graph.ainvoke({"key": key}, config)
                proof = json.dumps(fake.decide(asked["__interrupt__"][0].value["pause_id"]))
                await asyncio.sleep(IDLE_SECONDS)
                clock.answered[key] = time.monotonic()
                url = hook if name == "resumer" else hook + key
                reply = await http.post(
                    url, content=proof, headers={"Content-Type": "application/json"}
                )
                assert reply.is_success, reply.text
                seconds = await asyncio.wait_for(clock.latency(key), 30)
                if number >= WARM:
                    times[name].append(seconds * 1000)
    found = {
        name: {
            "p50_ms": round(statistics.median(taken), 1),
            "p99_ms": round(percentile(taken, 0.99), 1),
        }
        for name, taken in times.items()
    }
    more = {
        f"more_at_{share}": round(found["resumer"][share] - found["handler"][share], 1)
        for share in ("p50_ms", "p99_ms")
    }
    report("wakeup", {"threads": threads, **found, **more})


async def serve(port: int) -> None:
    """The handler as one writes it by hand."""
    async with open_pool(os.environ["RESUMER_DATABASE_URL"], size=12, name="handler") as pool:
        graph = ours(AsyncPostgresSaver(pool))

        async def handler(request: Request) -> Response:
            body = await request.body()
            verify(body, secrets=[SECRET])
            config = {"configurable": {"thread_id": request.path_params["thread_id"]}}
            answer: Any = json.loads(body)
            await graph.ainvoke(Command(resume=answer), config, durability="sync")
            return Response(status_code=202)

        async def is_ready(_: Request) -> Response:
            return Response()

        routes = [
            Route("/threads/{thread_id}", handler, methods=["POST"]),
            Route("/ready", is_ready),
        ]
        async with serving(Starlette(routes=routes), port=port):
            settle_memory()
            await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=200)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(serve(given.serve) if given.serve else main(given.threads))
