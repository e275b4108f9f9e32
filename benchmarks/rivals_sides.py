"""The three sides of `rivals.py`: what pauses executions, and what sends them their decisions."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph_sdk import get_client

from benchmarks.programs import free_port, resumer
from benchmarks.rivals_programs import PATIENCE, Process, answering, environment, program
from benchmarks.rivals_resumer import build
from looppause_sdk import LoopPauseClient
from looppause_sdk.testing import FakeLoopPause
from resumer.db import open_pool
from resumer.migrate import migrate

__all__ = ["IN_FLIGHT", "Side", "dbos", "langgraph", "ours"]

HERE = Path(__file__).parent
IN_FLIGHT = 32
SETTLED = 1.0  # seconds: what was started last has come to its wait
LANGGRAPH = ("-r", str(HERE.parent / "tests/remote/agent/requirements.txt"))
DBOS = ("dbos==3.4.0",)


class Side:
    """One of them: pauses executions, and sends all of them their decisions."""

    def __init__(self, told: Path) -> None:
        self.told = told
        told.touch()

    async def pause(self, keys: Sequence[str]) -> None:
        """Return when each waits."""
        raise NotImplementedError

    async def decide(self, keys: Sequence[str]) -> None:
        """Send the approvals, so many at once."""
        raise NotImplementedError

    async def rate(self, keys: Sequence[str]) -> float:
        """Executions a second, from the first that is sent to the last that went on."""
        await self.pause(keys)
        await asyncio.sleep(SETTLED)
        start = time.monotonic()
        await self.decide(keys)
        return len(keys) / (await self._last(set(keys)) - start)

    async def _last(self, keys: set[str]) -> float:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            lines = [line.split() for line in self.told.read_text().splitlines()]
            ran = {key: float(moment) for key, moment in lines if key in keys}
            if len(ran) == len(keys):
                return max(ran.values())
            await asyncio.sleep(0.05)
        raise SystemExit(f"{self.told}: {len(ran)} of {len(keys)} have run")


async def each(work: Callable[[str], Awaitable[Any]], keys: Iterable[str]) -> None:
    """For each key, so many at once."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(key: str) -> None:
        async with slots:
            await work(key)

    await asyncio.gather(*map(one, keys))


# -- Resumer ---------------------------------------------------------------------------------


class Ours(Side):
    """Threads in PostgreSQL, and a receiver."""

    def __init__(self, told: Path, graph: Any, fake: FakeLoopPause, url: str) -> None:
        super().__init__(told)
        self._graph, self._fake, self._url = graph, fake, url
        self._proofs: dict[str, bytes] = {}

    async def pause(self, keys: Sequence[str]) -> None:
        """Run each up to its gate."""

        async def one(key: str) -> None:
            result = await self._graph.ainvoke({"key": key}, {"configurable": {"thread_id": key}})
            pause_id = result["__interrupt__"][0].value["pause_id"]
            self._proofs[key] = json.dumps(self._fake.decide(pause_id)).encode()

        await each(one, keys)

    async def decide(self, keys: Sequence[str]) -> None:
        """Post the signed proofs to the webhook."""
        webhook = f"{self._url}/webhooks/looppause"
        async with httpx.AsyncClient(timeout=PATIENCE) as client:

            async def one(key: str) -> None:
                answer = await client.post(webhook, content=self._proofs[key])
                answer.raise_for_status()

            await each(one, keys)


@asynccontextmanager
async def ours(folder: Path, database: str) -> AsyncIterator[Side]:
    """`resumer serve`, with the settings it has by itself."""
    await migrate(database, database)
    fake, port, told = FakeLoopPause(), free_port(), folder / "told-resumer"
    env = {
        "RESUMER_DATABASE_URL": database,
        "LOOPPAUSE_SIGNING_SECRET": fake.secret,
        "LOOPPAUSE_API_KEY": "key",
        "BENCH_TOLD": str(told),
        "PYTHONPATH": str(HERE.parent),
    }
    graph = "procurement=benchmarks.rivals_resumer:graph"
    command = resumer("serve", "--port", str(port), "--graph", graph)
    client = LoopPauseClient(
        "key",
        signing_secret=fake.secret,
        http_client=httpx.Client(transport=fake.transport),
        env={},
    )
    serving = program(folder, "resumer", command, env)
    async with serving as process, _agents(database) as saver:
        url = f"http://127.0.0.1:{port}"
        await answering(process, f"{url}/readyz")
        yield Ours(told, build(client).compile(checkpointer=saver), fake, url)


@asynccontextmanager
async def _agents(database: str) -> AsyncIterator[AsyncPostgresSaver]:
    async with open_pool(database, size=4, name="agents") as pool:
        yield AsyncPostgresSaver(pool)


# -- langgraph dev ---------------------------------------------------------------------------


class LangGraph(Side):
    """Threads of a server, and its client."""

    def __init__(self, told: Path, url: str) -> None:
        super().__init__(told)
        self._client = get_client(url=url)
        self._threads: dict[str, str] = {}

    async def pause(self, keys: Sequence[str]) -> None:
        """Run each up to its interrupt."""

        async def one(key: str) -> None:
            thread = await self._client.threads.create()
            self._threads[key] = thread["thread_id"]
            await self._client.runs.wait(thread["thread_id"], "agent", input={"key": key})

        await each(one, keys)

    async def decide(self, keys: Sequence[str]) -> None:
        """Wait for the run that resumes, as the page on human in the loop does."""

        async def one(key: str) -> None:
            await self._client.runs.wait(
                self._threads[key],
                "agent",
                command={"resume": {"decision": "approved", "responder": "alice@acme.example"}},
            )

        await each(one, keys)


@asynccontextmanager
async def langgraph(folder: Path) -> AsyncIterator[Side]:
    """The server, offline: no tracing, no tunnel, no browser, and no watching of files."""
    home, port, told = folder / "langgraph", free_port(), folder / "told-langgraph"
    home.mkdir()
    settings = {"dependencies": ["."], "graphs": {"agent": f"{HERE}/rivals_langgraph.py:graph"}}
    (home / "langgraph.json").write_text(json.dumps(settings), encoding="utf-8")
    binaries = environment(folder / "langgraph-environment", *LANGGRAPH) / "bin"
    command = [str(binaries / "langgraph"), "dev", "--no-browser", "--no-reload", "--port"]
    env = {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "BENCH_TOLD": str(told),
    }
    async with program(folder, "langgraph", [*command, str(port)], env, cwd=home) as process:
        url = f"http://127.0.0.1:{port}"
        await answering(process, f"{url}/ok")
        yield LangGraph(told, url)


# -- DBOS ------------------------------------------------------------------------------------


class Dbos(Side):
    """An application, and a client in a process beside it: both do what a line tells them."""

    def __init__(self, told: Path, app: Process, client: Process) -> None:
        super().__init__(told)
        self._app, self._client = app, client

    async def pause(self, keys: Sequence[str]) -> None:
        """Start each; it goes on to its `recv` by itself."""
        await self._tell(self._app, keys)

    async def decide(self, keys: Sequence[str]) -> None:
        """Have the client send."""
        await self._tell(self._client, keys)

    async def _tell(self, process: Process, keys: Sequence[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{' '.join(keys)}\n".encode())
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE)


@asynccontextmanager
async def dbos(folder: Path, database: str) -> AsyncIterator[Side]:
    """The application and its client, over a database of their own that DBOS makes itself."""
    told = folder / "told-dbos"
    python = str(environment(folder / "dbos-environment", *DBOS) / "bin/python")
    env = {"DBOS_SYSTEM_DATABASE_URL": database, "BENCH_TOLD": str(told)}
    script = [python, str(HERE / "rivals_dbos.py")]
    async with program(folder, "dbos", [*script, "serve"], env) as app:
        assert app.stdout is not None
        assert await asyncio.wait_for(app.stdout.readline(), PATIENCE)
        sending = program(folder, "dbos-client", [*script, "send", str(IN_FLIGHT)], env)
        async with sending as client:
            assert client.stdout is not None
            assert await asyncio.wait_for(client.stdout.readline(), PATIENCE)
            yield Dbos(told, app, client)
