"""What probes are told: whether a process lives, and whether it can do its part."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from resumer import Resumer
from tests.integration.conftest import Rig, until

PARTS = ("healthz", "readyz", "readyz/receive")


@pytest.fixture
async def web(rig: Rig) -> Resumer:
    """A receiver without a worker, and nobody else's."""
    resumer = Resumer(database_url=rig.url, signing_secrets=[rig.looppause.secret], worker=False)
    await rig.stack.enter_async_context(resumer.running())
    return resumer


@pytest.fixture
async def worker(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a worker's own port; its worker is taken for dead after three seconds."""
    resumer = await rig.receiver(stall_seconds=3.0)
    async with (
        resumer.scrape.served("127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=str(address).removesuffix("/metrics")) as http,
    ):
        yield http


async def statuses(resumer: Resumer) -> list[int]:
    transport = httpx.ASGITransport(resumer.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        return [(await http.get(f"/{part}")).status_code for part in PARTS]


async def test_deliveries_are_taken_without_a_worker(web: Resumer) -> None:
    """A load balancer must not take the web app away because nobody resumes for a moment."""
    assert await statuses(web) == [200, 503, 200]


async def test_deliveries_are_not_taken_without_tables(rig: Rig, web: Resumer) -> None:
    """Before `resumer migrate`, and with the database away, another replica is the better one."""
    await rig.rows("alter table migrations rename to elsewhere")
    assert await statuses(web) == [200, 503, 503]


async def test_deliveries_are_not_taken_where_nothing_can_be_written(rig: Rig) -> None:
    """On a standby nothing could be recorded, and each delivery would be answered 503."""
    name = urlsplit(rig.url).path.removeprefix("/")
    await rig.rows(f'alter database "{name}" set default_transaction_read_only = on')
    resumer = Resumer(database_url=rig.url, signing_secrets=[rig.looppause.secret], worker=False)
    await rig.stack.enter_async_context(resumer.running())
    assert await statuses(resumer) == [200, 503, 503]


async def test_a_worker_is_ready_once_it_has_given_a_sign_of_life(
    worker: httpx.AsyncClient,
) -> None:
    """Its registration is the first one, so that a rollout need not wait for the second."""
    assert (await worker.get("/healthz")).json() == {"status": "ok"}
    await until(lambda: _status(worker, 200), seconds=30)
    assert (await worker.get("/readyz")).json() == {"status": "ready"}


async def test_a_worker_that_cannot_say_that_it_lives_is_not_ready(
    rig: Rig, worker: httpx.AsyncClient
) -> None:
    """It lives all the same, and nothing is gained by ending it; ready again once it can."""
    await until(lambda: _status(worker, 200), seconds=30)
    await rig.rows("alter table procrastinate_workers rename to elsewhere")
    await until(lambda: _status(worker, 503), seconds=30)
    told = await worker.get("/readyz")
    assert told.json() == {"error": "this worker has given no sign of life for 3 s"}
    assert (await worker.get("/healthz")).status_code == 200
    await rig.rows("alter table elsewhere rename to procrastinate_workers")
    await until(lambda: _status(worker, 200), seconds=30)


async def _status(http: httpx.AsyncClient, wanted: int) -> bool:
    return (await http.get("/readyz")).status_code == wanted
