"""A receiver in this process, and agents that hibernate beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from looppause_sdk import AsyncLoopPauseClient
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.db import connect, open_pool
from resumer.graphs import Graphs
from resumer.intake import Intake
from resumer.pauses import Pauses
from resumer.reconcile import Reconciler, Sweep
from resumer.threads import Threads
from resumer.watchlist import Watchlist
from tests import agents, poolers

LATER = timedelta(minutes=2)


async def until(condition: Callable[[], Awaitable[Any]], *, seconds: float = 30.0) -> Any:
    """Wait until `condition` is true and return what it returned; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (result := await condition()):
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.02)
    return result


@dataclass
class Rig:
    """One database, one LoopPause, one ledger; receivers and agents over them."""

    url: str
    looppause: FakeLoopPause
    ledger: agents.Ledger = field(default_factory=agents.Ledger)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def client(self) -> Any:
        return agents.client_of(self.looppause)

    def agent(self, **settings: Any) -> Any:
        return agents.payment_agent(self.client(), self.ledger.pay, **settings)

    async def receiver(
        self, graphs: dict[str, Any] | str | None = None, **settings: Any
    ) -> Resumer:
        """A running receiver; waits and retries are short unless given."""
        graphs = {"procurement": self.agent()} if graphs is None else graphs
        quick = {"settle_seconds": 2.0, "retry_delays": (0.1, 0.1), "drain_seconds": 5.0}
        keys: dict[str, Any] = (
            {"signing_secrets": [self.looppause.secret]}
            if self.looppause.scheme == "hmac"
            else {"public_keys": [self.looppause.public_key]}
        )
        resumer = Resumer(graphs, database_url=self.url, **{**keys, **quick, **settings})
        return await self.stack.enter_async_context(resumer.running())

    async def hibernate(self, graph: Any, thread_id: str, amount: int = 7, **run: Any) -> list[str]:
        """Run a thread to its gates, as an agent's process does; return the pauses it asks."""
        async with agents.hibernating(graph, self.url) as attached:
            await attached.ainvoke({"amount": amount}, agents.on(thread_id), **run)
            state = await attached.aget_state(agents.on(thread_id))
            return [found.value["pause_id"] for found in state.interrupts]

    async def deliver(self, resumer: Resumer, proof: Any) -> httpx.Response:
        transport = httpx.ASGITransport(resumer.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
            return await http.post("/webhooks/looppause", json=proof)

    async def state(self, graph: Any, thread_id: str) -> Any:
        async with agents.hibernating(graph, self.url) as attached:
            return await attached.aget_state(agents.on(thread_id))

    async def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        connection = await connect(self.url, schema="resumer")
        async with connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def pause(self, pause_id: str) -> dict[str, Any] | None:
        rows = await self.rows("select * from pauses where pause_id = %s", pause_id)
        return rows[0] if rows else None

    async def until_state(self, pause_id: str, *states: str, seconds: float = 30.0) -> Any:
        """Wait until the pause has one of these states; return its record."""

        async def there() -> Any:
            record = await self.pause(pause_id)
            return record if record and record["state"] in states else None

        return await until(there, seconds=seconds)


@pytest.fixture
def looppause() -> FakeLoopPause:
    return FakeLoopPause()


@pytest.fixture
async def rig(database_url: str, looppause: FakeLoopPause) -> AsyncIterator[Rig]:
    made = Rig(database_url, looppause)
    async with made.stack:
        yield made


@pytest.fixture
async def pgbouncer(database_url: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A real PgBouncer in each mode before the database; their URLs by mode."""
    async with poolers.bouncers(database_url, tmp_path) as urls:
        yield urls


@dataclass
class Clock:
    """Time that a test moves."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Sweeping:
    """A reconciler over the rig's database whose time stands still."""

    rig: Rig
    clock: Clock
    reconciler: Reconciler
    calls: list[str]

    async def sweep(self) -> Sweep:
        done = await self.reconciler.sweep()
        assert done is not None
        return done


@pytest.fixture
async def sweeping(rig: Rig) -> AsyncIterator[Sweeping]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            open_pool(rig.url, size=4, schema="resumer", name="own")
        )
        checkpoints = await stack.enter_async_context(open_pool(rig.url, size=4, name="threads"))
        calls: list[str] = []
        http_client = await stack.enter_async_context(
            httpx.AsyncClient(
                transport=rig.looppause.async_transport,
                event_hooks={"request": [_noting(calls)]},
            )
        )
        clock = Clock(datetime.now(UTC) + LATER)
        client = AsyncLoopPauseClient(
            "key", rig.looppause.secret, http_client=http_client, max_attempts=1, env={}
        )
        reconciler = Reconciler(
            watchlist=Watchlist(pool),
            intake=Intake(Pauses(pool), [rig.looppause.secret]),
            threads=Threads(checkpoints),
            graphs=Graphs({"procurement": rig.agent()}),
            looppause=client,
            interval=60.0,
            clock=clock,
        )
        yield Sweeping(rig, clock, reconciler, calls)


def _noting(calls: list[str]) -> Any:
    async def note(request: httpx.Request) -> None:
        calls.append(request.url.path)

    return note
