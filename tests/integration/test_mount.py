"""Inside a host: mounted under a path, started by the host, apart from others, and quiet."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer
from resumer.errors import DatabaseNotReady, SettingsError
from tests import agents, postgres
from tests.vectors import SECRET
from tests.vectors.signing import APPROVAL, python_signed

PATH = "/approvals/webhooks/looppause"
PROOF = python_signed(APPROVAL, SECRET)


def receiver(url: str, secret: str = SECRET) -> Resumer:
    """A receiver that leaves resuming to others."""
    return Resumer(database_url=url, signing_secrets=[secret], worker=False)


def host(resumer: Resumer, **options: Any) -> Starlette:
    """An application with a page of its own and the receiver mounted."""

    async def home(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("home")

    return Starlette(routes=[Route("/", home), Mount("/approvals", resumer.app)], **options)


@asynccontextmanager
async def serving(app: Starlette, root_path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """The application as a server runs it: within its lifespan."""
    transport = httpx.ASGITransport(app, root_path=root_path)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://host") as client,
    ):
        yield client


def pauses(url: str) -> list[Any]:
    """The pauses whose answer is recorded."""
    query = "select pause_id from resumer.pauses where body is not null"
    with psycopg.connect(url) as connection:
        answered = connection.execute(query).fetchall()
    return [pause_id for (pause_id,) in answered]


@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_mounted_with_its_lifespan(database_url: str, root_path: str) -> None:
    """`lifespan=resumer.lifespan` is all a host has to add, under a proxy's path as well."""
    resumer = receiver(database_url)
    async with serving(host(resumer, lifespan=resumer.lifespan), root_path) as client:
        assert (await client.get(f"{root_path}/")).text == "home"
        reply = await client.post(root_path + PATH, json=PROOF)
        assert (reply.status_code, reply.json()["status"]) == (202, "accepted")
    assert not resumer.is_running
    assert pauses(database_url) == ["pause_1"]


async def test_entered_in_the_hosts_own_lifespan(database_url: str) -> None:
    """A host with a lifespan of its own enters `running()` there."""
    resumer = receiver(database_url)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with resumer.running():
            yield

    async with serving(host(resumer, lifespan=lifespan)) as client:
        assert (await client.post(PATH, json=PROOF)).status_code == 202


async def test_a_forgotten_lifespan_is_503_with_advice(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Mounting alone starts nothing: the sender and the log are both told what is missing."""
    async with serving(host(receiver(database_url))) as client:
        assert (await client.get("/")).text == "home"
        reply = await client.post(PATH, json=PROOF)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert "mounted but not started: enter `resumer.lifespan`" in reply.json()["error"]
    assert "mounted but not started: enter `resumer.lifespan`" in caplog.text
    assert pauses(database_url) == []


async def test_a_stop_and_a_second_start(database_url: str) -> None:
    """One Resumer can be started again after it has stopped, and not twice at once."""
    resumer = receiver(database_url)
    app = host(resumer, lifespan=resumer.lifespan)
    for status in (202, 200):
        async with serving(app) as client:
            assert (await client.post(PATH, json=PROOF)).status_code == status
            with pytest.raises(RuntimeError, match="this Resumer is running already"):
                await resumer.running().__aenter__()
            assert resumer.is_running


async def test_two_receivers_in_one_process_do_not_meet(
    database_url: str, postgres_server: postgres.Server
) -> None:
    """Each has its own database, keys, graphs and worker: a proof wakes the thread of its own."""
    other_url = postgres_server.database()
    try:
        urls = (database_url, other_url)
        sources = [FakeLoopPause(), FakeLoopPause()]
        ledgers = [agents.Ledger(), agents.Ledger()]
        graphs = [
            agents.payment_agent(agents.client_of(source), ledger.pay)
            for source, ledger in zip(sources, ledgers, strict=True)
        ]
        pause_ids = []
        for graph, url in zip(graphs, urls, strict=True):
            async with agents.hibernating(graph, url) as attached:
                await attached.ainvoke({"amount": 1}, agents.on("same-thread-id"))
                state = await attached.aget_state(agents.on("same-thread-id"))
                pause_ids.append(state.interrupts[0].value["pause_id"])
        first, second = (
            Resumer({"procurement": graph}, database_url=url, signing_secrets=[source.secret])
            for graph, url, source in zip(graphs, urls, sources, strict=True)
        )
        proof = sources[1].decide(pause_ids[1], "approved")
        app = Starlette(routes=[Mount("/approvals", second.app), Mount("/first", first.app)])
        async with first.running(), second.running(), serving(app) as client:
            refused = await client.post("/first/webhooks/looppause", json=proof)
            assert refused.status_code == 401
            assert (await client.post(PATH, json=proof)).status_code == 202
            await _until_resumed(other_url)
        assert [len(ledger.payments) for ledger in ledgers] == [0, 1]
        assert pauses(database_url) == []
    finally:
        postgres_server.drop(other_url)


async def _until_resumed(url: str) -> None:
    resumed = b"select pg_sleep(0.02), exists (select from resumer.pauses where state = 'resumed')"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(10):
            while not (await (await connection.execute(resumed)).fetchone() or (0, False))[1]:
                continue


async def test_logging_and_signals_stay_the_hosts(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Starting and stopping touches no handler, no level, no structlog setup and no signal."""

    def setup() -> Any:
        root, ours = logging.getLogger(), logging.getLogger("resumer")
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return (
            root.handlers[:], root.level, ours.handlers[:], ours.level, ours.propagate,
            structlog.is_configured(), signals,
        )  # fmt: skip

    before = setup()
    graph = agents.payment_agent(agents.client_of(FakeLoopPause()), agents.Ledger().pay)
    resumer = Resumer({"*": graph}, database_url=database_url, signing_secrets=[SECRET])
    async with serving(host(resumer, lifespan=resumer.lifespan)) as client:
        await client.post(PATH, json=PROOF)
        assert setup() == before
    assert setup() == before


async def test_an_unmigrated_database_stops_the_start(postgres_server: postgres.Server) -> None:
    """The host does not come up on tables that are not there; the error says which command."""
    url = postgres_server.database("template1")
    try:
        resumer = receiver(url)
        with pytest.raises(DatabaseNotReady, match="run `resumer migrate`"):
            await resumer.lifespan().__aenter__()
        assert not resumer.is_running
    finally:
        postgres_server.drop(url)


def test_settings_that_cannot_be_used_are_an_error_at_once() -> None:
    """Faults show when the Resumer is made, not at the first delivery."""
    with pytest.raises(SettingsError, match="RESUMER_DATABASE_URL is missing") as caught:
        Resumer()
    assert "no key to verify proofs with" in str(caught.value)
