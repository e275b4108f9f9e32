"""Clients that wait on the receiver: `GET /pauses/{pause_id}?wait=30`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looppause_sdk import AsyncLoopPauseClient, LoopPauseClient, Proof
from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer, waiting, worker
from resumer.collect import collect
from resumer.pauses import Pauses
from resumer.serving import serving
from tests import agents
from tests.faults.cluster import cluster
from tests.faults.replicas import free_port
from tests.integration.conftest import Rig, Sweeping, until

TOKEN = "a-token-for-reading-1"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def client_of(
    resumer: Resumer, headers: dict[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client in this process, without connections."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(resumer.app),
        base_url="http://resumer",
        headers=AUTHORIZED if headers is None else headers,
    ) as http:
        yield http


@asynccontextmanager
async def web(url: str, looppause: FakeLoopPause, **settings: Any) -> AsyncIterator[Any]:
    """A web process's receiver behind a real server, and a client of it."""
    resumer = Resumer(
        database_url=url,
        signing_secrets=[looppause.secret],
        read_tokens=[TOKEN],
        worker=False,
        **settings,
    )
    async with (
        resumer.running(),
        serving(resumer.app, drain_seconds=2) as address,
        httpx.AsyncClient(
            base_url=address, headers=AUTHORIZED, timeout=30, limits=httpx.Limits()
        ) as http,
    ):
        yield resumer, http


def asked(looppause: FakeLoopPause, name: str = "q") -> str:
    """A pause that nobody has answered."""
    return agents.client_of(looppause).create_pause(
        agent_id="crew",
        action={"type": "payment", "description": "Pay", "details": {}},
        recipients=agents.RECIPIENTS,
        idempotency_key=name,
    )


async def until_waiting(resumer: Resumer, count: int) -> None:
    """Wait until so many clients wait, and the process listens for them."""
    assert resumer._running is not None
    room = resumer._running.room

    async def there() -> bool:
        return room._count == count

    await until(there)
    await asyncio.sleep(0.1)


# -- the answer ----------------------------------------------------------------------------------


async def test_an_answer_that_is_there_is_handed_over_at_once(rig: Rig) -> None:
    """The signed text as it was received, byte for byte."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    pause_id = asked(rig.looppause)
    proof = rig.looppause.decide(pause_id, comment="für Müller")
    text = json.dumps(proof, indent=2, ensure_ascii=False)
    async with client_of(resumer) as http:
        await http.post("/webhooks/looppause", content=text.encode())
        reply = await http.get(f"/pauses/{pause_id}?wait=30")
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    assert (reply.json()["pause_id"], reply.json()["proof"]) == (pause_id, text)


async def test_without_a_wait_the_state_is_told_and_nothing_collected(
    rig: Rig, sweeping: Sweeping
) -> None:
    """A look says where the pause stands; only a wait takes the answer."""
    resumer = await rig.receiver(read_tokens=[TOKEN], reconcile_seconds=0)
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    async with client_of(resumer) as http:
        assert (await http.get(f"/pauses/{pause_id}")).json()["state"] == "unknown"
        await sweeping.sweep()
        reply = (await http.get(f"/pauses/{pause_id}?wait=0")).json()
        assert reply == {"pause_id": pause_id, "state": "waiting", "proof": None}
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        await rig.until_state(pause_id, "resumed")
        reply = (await http.get(f"/pauses/{pause_id}?wait=0.0")).json()
        head = await http.head(f"/pauses/{pause_id}?wait=5")
    assert (reply["state"], json.loads(reply["proof"])["decision"]) == ("resumed", "approved")
    assert head.status_code == 200
    record = await rig.pause(pause_id)
    assert record is not None
    assert record["collected_at"] is None


@pytest.mark.parametrize("known", [True, False])
async def test_a_wait_ends_with_nothing(rig: Rig, sweeping: Sweeping, known: bool) -> None:
    """After the time asked for, and not before: no proof, and where the pause stands."""
    resumer = await rig.receiver(read_tokens=[TOKEN], reconcile_seconds=0)
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    if known:
        await sweeping.sweep()
    began = time.monotonic()
    async with client_of(resumer) as http:
        reply = (await http.get(f"/pauses/{pause_id}?wait=0.3")).json()
    assert reply["proof"] is None
    assert reply["state"] == ("waiting" if known else "unknown")
    assert 0.3 <= time.monotonic() - began < 3


async def test_the_reconcilers_denial_comes_without_a_signature(rig: Rig) -> None:
    """What ended unanswered is told as the pause id and how it ended."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    assert resumer._running is not None
    await resumer._running.intake.pauses.record_denial("pause_1", "expired")
    async with client_of(resumer) as http:
        reply = (await http.get("/pauses/pause_1?wait=5")).json()
    assert json.loads(reply["proof"]) == {"pause_id": "pause_1", "status": "expired"}


@pytest.mark.parametrize(
    "wait", ["-1", "61", "60.5", "nan", "inf", "1e1", "", "a", "１", "30&wait=30", "%2030"]
)
async def test_a_wait_that_cannot_be_is_refused(wait: str) -> None:
    """The error says what a wait is."""
    async with untouched_room() as http:
        reply = await http.get(f"/pauses/pause_1?wait={wait}")
    assert reply.status_code == 400
    assert reply.json()["error"] == "wait must be a number of seconds from 0 to 60"


@pytest.mark.parametrize("name", ["", "a%7Fb", "x" * 256, "a%00"])
async def test_a_pause_id_that_cannot_be_is_refused(name: str) -> None:
    """What could never be recorded is not waited for."""
    async with untouched_room() as http:
        reply = await http.get(f"/pauses/{name}?wait=5")
    assert (reply.status_code, "pause id" in reply.json()["error"]) == (400, True)


@asynccontextmanager
async def untouched_room() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the route alone: whoever gets past the checks would find no database."""
    room = waiting.WaitingRoom("postgresql://127.0.0.1:1/none", Pauses(_NO_POOL))

    async def route(request: Request) -> Response:
        return await collect(request, room)

    app = Starlette(routes=[Route("/pauses/{pause_id:path}", route)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://r") as http:
        yield http


_NO_POOL: Any = None


async def test_a_pause_id_with_a_slash_is_found(rig: Rig) -> None:
    """LoopPause's ids are not ours to judge."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    proof = rig.looppause.sign({**_approval(rig.looppause), "pause_id": "a/b?c"})
    async with client_of(resumer) as http:
        assert (await http.post("/webhooks/looppause", json=proof)).status_code == 202
        reply = (await http.get("/pauses/a%2Fb%3Fc?wait=5")).json()
    assert json.loads(reply["proof"])["pause_id"] == "a/b?c"


# -- who may read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe9\xff"]
)
async def test_a_wrong_token_is_refused(
    header: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """401 with the scheme to use, and no word about the pause, the token or us."""
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    async with client_of(stopped(read_tokens=[TOKEN]), headers={}) as http:
        reply = await http.get("/pauses/pause_1?wait=bad", headers=headers)
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", "Bearer second-token-of-two"]
)
async def test_any_of_the_tokens_will_do(header: str) -> None:
    """While tokens are changed, several are good."""
    resumer = stopped(read_tokens=[TOKEN, "second-token-of-two"])
    async with client_of(resumer, headers={"Authorization": header}) as http:
        assert (await http.get("/pauses/pause_1")).status_code == 503  # let in, and not started


async def test_without_tokens_nobody_may_read() -> None:
    """404, and which setting is missing."""
    async with client_of(stopped()) as http:
        reply = await http.get("/pauses/pause_1")
    assert reply.status_code == 404
    assert "RESUMER_READ_TOKENS" in reply.json()["error"]


def stopped(**settings: Any) -> Resumer:
    """A receiver that is not started."""
    url = "postgresql://127.0.0.1:1/none"
    return Resumer(database_url=url, signing_secrets=["secret"], worker=False, **settings)


async def test_not_started_is_503_with_advice() -> None:
    """As for a delivery."""
    async with client_of(stopped(read_tokens=[TOKEN])) as http:
        reply = await http.get("/pauses/pause_1?wait=5")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert "mounted but not started" in reply.json()["error"]


# -- waking up -------------------------------------------------------------------------------------


def test_the_channel_is_the_queues_own() -> None:
    """What is listened for is what Procrastinate's trigger says of a job of ours."""
    assert f"procrastinate_queue_v1#{worker.QUEUE}" == waiting.CHANNEL


async def test_waking_up_is_quick(
    database_url: str, looppause: FakeLoopPause, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the delivery's first byte to the proof in the client's hands, over real connections."""
    took = []
    async with web(database_url, looppause) as (resumer, http):
        for number in range(25):
            pause_id = asked(looppause, f"q{number}")
            waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
            await until_waiting(resumer, 1)
            proof = looppause.decide(pause_id)
            began = time.monotonic()
            await http.post("/webhooks/looppause", json=proof)
            assert (await waits).json()["proof"] is not None
            took.append(time.monotonic() - began)
    with capsys.disabled():
        p50, worst = statistics.median(took) * 1000, max(took) * 1000
        print(  # noqa: T201  (a figure to read, whatever the machine)
            f"\nanswer to wake-up over {len(took)}: p50 {p50:.0f} ms, longest {worst:.0f} ms"
        )
    assert statistics.median(took) < 1


async def test_another_process_takes_the_delivery(
    database_url: str, looppause: FakeLoopPause
) -> None:
    """Who waits at one web process is woken by what another one records."""
    async with (
        web(database_url, looppause) as (waited_at, http),
        web(database_url, looppause) as (_, other),
    ):
        pause_id = asked(looppause)
        waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
        await until_waiting(waited_at, 1)
        began = time.monotonic()
        await other.post("/webhooks/looppause", json=looppause.decide(pause_id))
        assert (await waits).json()["proof"] is not None
        assert time.monotonic() - began < 1


async def test_many_clients_one_connection(
    database_url: str, looppause: FakeLoopPause, rig: Rig
) -> None:
    """150 wait for 100 pauses: one session listens, each is given its own answer."""
    pauses = [asked(looppause, f"q{number}") for number in range(100)]
    names = [*pauses, *pauses[:50]]
    listening = (
        "select pid from pg_stat_activity where datname = current_database()"
        " and query ilike 'listen%%'"
    )
    async with web(database_url, looppause) as (resumer, http):
        waits = [asyncio.create_task(_proof_of(http, pause_id)) for pause_id in names]
        await until_waiting(resumer, len(names))
        assert len(await rig.rows(listening)) == 1
        async with client_of(resumer) as inside:
            for pause_id in pauses:
                await inside.post("/webhooks/looppause", json=looppause.decide(pause_id))
        assert [proof["pause_id"] for proof in await asyncio.gather(*waits)] == names
        await until_waiting(resumer, 0)


async def _proof_of(http: httpx.AsyncClient, pause_id: str) -> dict[str, Any]:
    reply = await http.get(f"/pauses/{pause_id}?wait=30", timeout=httpx.Timeout(30, pool=None))
    proof: dict[str, Any] = json.loads(reply.json()["proof"])
    return proof


async def test_nobody_waits_nobody_asks(database_url: str, looppause: FakeLoopPause) -> None:
    """With the last client goes the connection; the next one brings it back."""
    async with web(database_url, looppause) as (resumer, http):
        room = resumer._running.room
        for number in range(2):
            pause_id = asked(looppause, f"q{number}")
            waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
            await until_waiting(resumer, 1)
            await http.post("/webhooks/looppause", json=looppause.decide(pause_id))
            assert (await waits).json()["proof"] is not None
            await until_waiting(resumer, 0)
            assert (room._waiters, room._occupied.is_set()) == ({}, False)


async def test_a_full_room_is_503(rig: Rig) -> None:
    """One more than fits is sent away; those who wait are not disturbed."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    assert resumer._running is not None
    resumer._running.room.room_for = 1
    async with client_of(resumer) as http:
        waits = asyncio.create_task(http.get("/pauses/pause_1?wait=0.6"))
        await until_waiting(resumer, 1)
        refused = await http.get("/pauses/pause_2?wait=30")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert (await waits).status_code == 200
        assert (await http.get("/pauses/pause_2?wait=0.01")).status_code == 200


async def test_who_hangs_up_waits_no_more_and_takes_nothing(
    database_url: str, looppause: FakeLoopPause, rig: Rig
) -> None:
    """A client that has gone frees its place at once, and its answer is not collected."""
    async with web(database_url, looppause) as (resumer, http):
        pause_id = asked(looppause)
        waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
        await until_waiting(resumer, 1)
        waits.cancel()
        await until_waiting(resumer, 0)
        await http.post("/webhooks/looppause", json=looppause.decide(pause_id))
        record = await rig.pause(pause_id)
        assert record is not None
        assert record["collected_at"] is None


async def test_draining_answers_at_once(database_url: str, looppause: FakeLoopPause) -> None:
    """Before the server stops, nobody is held; who comes then is not held either."""
    async with web(database_url, looppause) as (resumer, http):
        waits = [asyncio.create_task(http.get("/pauses/pause_1?wait=60")) for _ in range(3)]
        await until_waiting(resumer, 3)
        began = time.monotonic()
        resumer.drain()
        replies = [reply.json() for reply in await asyncio.gather(*waits)]
        replies.append((await http.get("/pauses/pause_1?wait=60")).json())
        assert replies == [{"pause_id": "pause_1", "state": "unknown", "proof": None}] * 4
        assert time.monotonic() - began < 2


async def test_stopping_answers_at_once(database_url: str, looppause: FakeLoopPause) -> None:
    """The lifespan ends before the wait does."""
    resumer = Resumer(
        database_url=database_url,
        signing_secrets=[looppause.secret],
        read_tokens=[TOKEN],
        worker=False,
    )
    async with client_of(resumer) as http:
        async with resumer.running():
            waits = asyncio.create_task(http.get("/pauses/pause_1?wait=60"))
            await until_waiting(resumer, 1)
        async with asyncio.timeout(2):
            assert (await waits).json()["proof"] is None
        assert (await http.get("/pauses/pause_1?wait=60")).status_code == 503


async def test_sigterm_holds_nobody(database_url: str, looppause: FakeLoopPause) -> None:
    """`resumer web` answers those who wait before its server stops, and leaves at once."""
    port = free_port()
    env = {
        **os.environ,
        "RESUMER_DATABASE_URL": database_url,
        "LOOPPAUSE_SIGNING_SECRET": looppause.secret,
        "RESUMER_READ_TOKENS": json.dumps([TOKEN]),
    }
    command = [sys.executable, "-m", "resumer", "web", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=address, headers=AUTHORIZED, timeout=60) as http:

            async def ready() -> bool:
                with suppress(httpx.TransportError):
                    return (await http.get("/healthz")).status_code == 200
                return False

            await until(ready, seconds=30)
            waits = asyncio.create_task(http.get("/pauses/pause_1?wait=60"))
            await asyncio.sleep(0.5)
            process.terminate()
            began = time.monotonic()
            assert (await waits).json()["proof"] is None
            assert await process.wait() == 0
            assert time.monotonic() - began < 10
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.faults
async def test_the_database_crashes_while_clients_wait(
    tmp_path: Path, looppause: FakeLoopPause
) -> None:
    """They wait on, and are woken by what is recorded once it is back; who comes meanwhile too."""
    async with (
        cluster(tmp_path / "pg") as server,
        web(server.url, looppause) as (resumer, http),
    ):
        pauses = [asked(looppause, name) for name in ("before", "during")]
        waits = [asyncio.create_task(http.get(f"/pauses/{pauses[0]}?wait=60"))]
        await until_waiting(resumer, 1)
        await server.crash()
        waits.append(asyncio.create_task(http.get(f"/pauses/{pauses[1]}?wait=60")))
        assert (await http.get(f"/pauses/{pauses[0]}")).status_code == 503
        await server.start()
        for pause_id in pauses:
            proof = looppause.decide(pause_id)

            async def taken(proof: Any = proof) -> bool:
                reply = await http.post("/webhooks/looppause", json=proof)
                return bool(reply.status_code < 300)

            await until(taken, seconds=20)
        async with asyncio.timeout(20):
            replies = [reply.json() for reply in await asyncio.gather(*waits)]
        assert [json.loads(reply["proof"])["pause_id"] for reply in replies] == pauses


async def test_a_notification_that_never_came_is_made_up_for(
    database_url: str, looppause: FakeLoopPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a transaction pooler nothing is heard: a look every few seconds finds the answer."""
    monkeypatch.setattr(waiting, "CHANNEL", "a-channel-nobody-uses")
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.3)
    async with web(database_url, looppause) as (resumer, http):
        pause_id = asked(looppause)
        waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
        await until_waiting(resumer, 1)
        await http.post("/webhooks/looppause", json=looppause.decide(pause_id))
        async with asyncio.timeout(3):
            assert (await waits).json()["proof"] is not None


# -- the SDK's clients -------------------------------------------------------------------------------


def keys(address: str, looppause: FakeLoopPause, **options: Any) -> dict[str, Any]:
    """What both clients are made with; they may wait on the receiver at `address`."""
    return {
        "api_key": "key",
        "signing_secret": looppause.secret,
        "env": {},
        "receiver_url": address,
        "receiver_token": TOKEN,
        **options,
    }


async def _sync_wait(
    address: str, looppause: FakeLoopPause, pause_id: str, **options: Any
) -> Proof:
    mounts = {"http://127.0.0.1": httpx.HTTPTransport()}

    def wait() -> Proof:
        with (
            httpx.Client(transport=looppause.transport, mounts=mounts) as http,
            LoopPauseClient(http_client=http, **keys(address, looppause, **options)) as client,
        ):
            return client.wait_for_proof(pause_id, deadline_seconds=20)

    return await asyncio.to_thread(wait)


async def _async_wait(
    address: str, looppause: FakeLoopPause, pause_id: str, **options: Any
) -> Proof:
    mounts = {"http://127.0.0.1": httpx.AsyncHTTPTransport()}
    async with httpx.AsyncClient(transport=looppause.async_transport, mounts=mounts) as http:
        client = AsyncLoopPauseClient(http_client=http, **keys(address, looppause, **options))
        return await client.wait_for_proof(pause_id, deadline_seconds=20)


CLIENTS = pytest.mark.parametrize("wait", [_sync_wait, _async_wait], ids=["sync", "async"])


@CLIENTS
async def test_the_sdk_waits_on_the_receiver(
    database_url: str, looppause: FakeLoopPause, wait: Any, rig: Rig
) -> None:
    """A proof delivered there is in the agent's hands at once, and noted as taken."""
    async with web(database_url, looppause) as (resumer, http):
        pause_id = asked(looppause)
        waits = asyncio.create_task(wait(str(http.base_url), looppause, pause_id))
        await until_waiting(resumer, 1)
        proof = looppause.decide(pause_id, responder="ada@example.com")
        looppause.fail_next(503, times=1000)  # the receiver alone has to do
        began = time.monotonic()
        await http.post("/webhooks/looppause", json=proof)
        taken = await waits
        assert (taken.pause_id, taken.responder) == (pause_id, "ada@example.com")
        assert time.monotonic() - began < 1
    record = await rig.pause(pause_id)
    assert record is not None
    assert record["collected_at"] is not None


@CLIENTS
async def test_the_sdk_does_without_a_receiver(looppause: FakeLoopPause, wait: Any) -> None:
    """Nobody listens at that address: LoopPause is asked on its usual schedule."""
    pause_id = asked(looppause)
    waits = asyncio.create_task(wait("http://127.0.0.1:1", looppause, pause_id))
    await asyncio.sleep(0.3)
    looppause.decide(pause_id)
    assert (await waits).human_authorized


@CLIENTS
async def test_the_sdk_does_without_a_token_that_is_refused(
    database_url: str, looppause: FakeLoopPause, wait: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says so, then LoopPause has the answer."""
    async with web(database_url, looppause) as (_, http):
        pause_id = asked(looppause)
        wrong = {"receiver_token": "not-one-of-its-tokens"}
        waits = asyncio.create_task(wait(str(http.base_url), looppause, pause_id, **wrong))
        await asyncio.sleep(0.3)
        looppause.decide(pause_id)
        assert (await waits).human_authorized
    told = [record for record in caplog.records if record.name == "looppause_sdk"]
    assert ["refuses the token (401)" in record.getMessage() for record in told] == [True]


async def test_a_forged_answer_of_a_fake_receiver_opens_nothing(looppause: FakeLoopPause) -> None:
    """It says approved, with a signature of its own; the person had said no."""
    pause_id = asked(looppause)
    forged = FakeLoopPause().sign({**_approval(looppause), "pause_id": pause_id})

    async def answer(_request: Request) -> JSONResponse:
        rejected = looppause.decide(pause_id, "rejected")
        assert rejected["decision"] == "rejected"
        return JSONResponse({"pause_id": pause_id, "state": "resumed", "proof": json.dumps(forged)})

    app = Starlette(routes=[Route("/pauses/{pause_id}", answer)])
    async with serving(app, drain_seconds=1) as address:
        proof = await _async_wait(address, looppause, pause_id)
    assert (proof.decision, proof.human_authorized) == ("rejected", False)


def _approval(looppause: FakeLoopPause) -> dict[str, Any]:
    proof = looppause.decide(asked(looppause, "another"))
    return {name: value for name, value in proof.items() if name != "signature"}


# -- a pause that needs no thread --------------------------------------------------------------------


async def test_a_collected_answer_waits_for_no_thread(rig: Rig) -> None:
    """Its job ends as soon as a client has taken it, rather than after a day."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    pause_id = asked(rig.looppause)
    async with client_of(resumer) as http:
        waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
        await until_waiting(resumer, 1)
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        assert (await waits).json()["proof"] is not None
        record = await rig.until_state(pause_id, "resumed")
        again = (await http.get(f"/pauses/{pause_id}?wait=30")).json()
    assert (record["outcome"], record["reason"]) == (
        "already_resumed",
        "a waiting client has taken the answer",
    )
    assert (again["state"], again["proof"] is None) == ("resumed", False)
    later = await rig.pause(pause_id)
    assert later is not None
    assert later["collected_at"] == record["collected_at"], "the first time counts"


async def test_a_look_takes_nothing(rig: Rig) -> None:
    """Without a wait the answer stays where it is, for its thread to come."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    pause_id = asked(rig.looppause)
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    async with client_of(resumer) as http:
        assert (await http.get(f"/pauses/{pause_id}")).json()["proof"] is not None
    await asyncio.sleep(0.5)
    record = await rig.pause(pause_id)
    assert record is not None
    assert (record["state"], record["reason_code"]) == ("answered", "early")


async def test_a_thread_that_hibernates_is_resumed_though_a_client_took_the_answer(
    rig: Rig,
) -> None:
    """Somebody watched a pause that belongs to a thread: the thread goes on as ever."""
    resumer = await rig.receiver(read_tokens=[TOKEN])
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    async with client_of(resumer) as http:
        waits = asyncio.create_task(http.get(f"/pauses/{pause_id}?wait=30"))
        await until_waiting(resumer, 1)
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        assert (await waits).json()["proof"] is not None
    record = await rig.until_state(pause_id, "resumed")
    assert (record["outcome"], len(rig.ledger.payments)) == ("resumed", 1)


async def test_the_sweep_takes_up_a_thread_that_hibernates_after_the_answer_was_taken(
    rig: Rig, sweeping: Sweeping
) -> None:
    """Marked as taken first, asked by a thread after all: found, resumed, and once only."""
    resumer = await rig.receiver(read_tokens=[TOKEN], reconcile_seconds=0)
    graph = rig.agent()
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.rows("create table kept as select * from public.checkpoint_writes")
    await rig.rows("truncate public.checkpoint_writes")
    async with client_of(resumer) as http:
        await rig.deliver(resumer, rig.looppause.decide(pause_id))
        await http.get(f"/pauses/{pause_id}?wait=30")
    await rig.until_state(pause_id, "resumed")
    assert (await sweeping.sweep()).reopened == 0
    await rig.rows("insert into public.checkpoint_writes select * from kept")

    assert (await sweeping.sweep()).reopened == 1

    async def paid() -> bool:
        record = await rig.pause(pause_id)
        return bool(record and record["outcome"] == "resumed")

    await until(paid)
    sweeping.clock.now += timedelta(hours=7)
    assert (await sweeping.sweep()).reopened == 0
    assert len(rig.ledger.payments) == 1


async def test_what_a_stranger_sends_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of wrong tokens is a few lines."""
    resumer = stopped(read_tokens=[TOKEN])
    with caplog.at_level(logging.WARNING):
        async with client_of(resumer, headers={"Authorization": "Bearer wrong"}) as http:
            for _ in range(60):
                await http.get("/pauses/pause_1")
    assert caplog.text.count("reading_refused") <= 20
