"""One LangGraph server for the module, a LoopPause that its gates ask, and receivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.emulator import Emulator
from tests.browser.served import served
from tests.integration.conftest import Rig, until
from tests.remote.server import KEY, AgentServer, Thread, environment

THREADS = 18


@pytest.fixture(scope="module")
def looppause() -> FakeLoopPause:
    return FakeLoopPause()


@pytest.fixture(scope="module")
def looppause_url(looppause: FakeLoopPause) -> Iterator[str]:
    with served(Emulator(looppause, deliver=False).app) as address:
        yield address


@pytest.fixture(scope="module")
def server_environment(request: pytest.FixtureRequest) -> Path:
    return environment(request.config.cache.mkdir("servers"))


@pytest.fixture(scope="module")
def server(
    server_environment: Path,
    looppause: FakeLoopPause,
    looppause_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AgentServer]:
    settings = {
        "LOOPPAUSE_API_URL": looppause_url,
        "LOOPPAUSE_API_KEY": "any",
        "LOOPPAUSE_SIGNING_SECRET": looppause.secret,
    }
    folder = tmp_path_factory.mktemp
    made = AgentServer(folder("server"), folder("world"), settings, server_environment)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def threads(server: AgentServer) -> list[tuple[str, str]]:
    """Threads that hibernate before the payment, and their pauses: asked all at once.

    A thread's payment waits while a file of its thread's name is held.
    """

    async def ask(client: Any) -> tuple[str, str]:
        thread = Thread(client, "paying", (await client.threads.create())["thread_id"])
        [pause_id] = await thread.ask(amount=7, held=thread.thread_id)
        return thread.thread_id, pause_id

    async def ask_all() -> list[tuple[str, str]]:
        client = server.client()
        try:
            return await asyncio.gather(*(ask(client) for _ in range(THREADS)))
        finally:
            await client.aclose()

    return asyncio.run(ask_all())


class Desk(Rig):
    """A rig whose graphs run on the server."""

    server: AgentServer
    looppause_url: str
    threads: list[tuple[str, str]]

    async def serving(self, graph: str = "paying", **settings: Any) -> Resumer:
        """A receiver with a worker for the agent `payer`, whose graph is this one."""
        graphs = {"payer": f"{self.server.url}#{graph}"}
        return await self.receiver(graphs, **{"remote_key": KEY, **settings})

    def thread(self, graph: str = "paying") -> Thread:
        client = self.server.client()
        self.stack.push_async_callback(client.aclose)
        return Thread(client, graph)

    def hibernating(self) -> tuple[Thread, str]:
        """A thread that hibernates before the payment, and the pause it waits for."""
        thread_id, pause_id = self.threads.pop()
        thread = self.thread()
        thread.thread_id = thread_id
        return thread, pause_id

    async def reason(self, pause_id: str, code: str) -> str:
        """Wait until the pause waits or is parked for this reason; return it in words."""

        async def there() -> Any:
            record = await self.pause(pause_id)
            return record and record["reason_code"] == code and record["reason"]

        return str(await until(there, seconds=30))


@pytest.fixture
async def desk(
    database_url: str,
    looppause: FakeLoopPause,
    looppause_url: str,
    server: AgentServer,
    threads: list[tuple[str, str]],
) -> AsyncIterator[Desk]:
    made = Desk(database_url, looppause)
    made.server, made.looppause_url, made.threads = server, looppause_url, threads
    async with made.stack:
        yield made
