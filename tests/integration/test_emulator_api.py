"""The local LoopPause over real HTTP, and its file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import looppause_client
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.client import AsyncLoopPauseClient
from looppause_sdk.proof import verify
from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator, PauseFile, PauseFileError, open_emulator
from resumer.serving import serving

BEARER = {"Authorization": "Bearer key"}
QUESTION: dict[str, Any] = {
    "agent_id": "payer",
    "action": {"type": "payment", "description": "Pay 5 €", "details": {"amount": 5}},
    "recipients": [{"channel": "email", "target": "a@b.example"}],
}


@pytest.fixture
async def emulator() -> Emulator:
    """An emulator in memory that wants the bearer `key`."""
    return Emulator(FakeLoopPause(api_key="key"))


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that emulator, served by uvicorn."""
    async with (
        serving(emulator.app, lifespan="on") as url,
        httpx.AsyncClient(base_url=url, headers=BEARER) as client,
    ):
        yield client


async def test_the_whole_api_over_http(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """Ask, look, decide, look again: the proof on the wire is genuine."""
    created = await http.post("/v1/pauses", json=QUESTION, headers={"Idempotency-Key": "k"})
    path = f"/v1/pauses/{created.json()['pause_id']}"
    assert (await http.get(path)).json()["status"] == "pending"
    decided = await http.post(f"{path}/decision", json={"decision": "approved", "fields": {"n": 1}})
    answered = await http.get(path)
    assert (created.status_code, decided.status_code, answered.status_code) == (201, 200, 200)
    assert verify(answered.content, secrets=emulator.fake.secret).fields == {"n": 1}
    assert (await http.post(f"{path}/expire")).status_code == 409


async def test_concurrent_creates_with_one_key_open_one_pause(http: httpx.AsyncClient) -> None:
    """Twenty requests at once with one key answer with one pause, created once."""
    headers = {"Idempotency-Key": "same"}
    replies = await asyncio.gather(
        *(http.post("/v1/pauses", json=QUESTION, headers=headers) for _ in range(20))
    )
    assert len({reply.json()["pause_id"] for reply in replies}) == 1
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [201]


async def test_the_published_client_asks_waits_and_verifies(
    emulator: Emulator, http: httpx.AsyncClient
) -> None:
    """looppause 0.1.0 works against the emulator as against the service."""

    def session() -> looppause_client.Proof:
        client = looppause_client.LoopPauseClient("key", emulator.fake.secret, str(http.base_url))
        pause_id = client.create_pause(**QUESTION, idempotency_key="k", timeout_hours=1)
        assert client.create_pause(**QUESTION, idempotency_key="k", timeout_hours=1) == pause_id
        emulator.fake.decide(pause_id, comment="für Müller", fields={"amount": 1.5})
        proof = client.wait_for_proof(pause_id, poll_interval=0.05)
        client._http.close()
        return proof

    proof = await asyncio.to_thread(session)
    assert proof.human_authorized
    assert (proof.comment, proof.fields) == ("für Müller", {"amount": 1.5})


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
async def test_our_own_client_asks_waits_and_verifies(scheme: Any) -> None:
    """The SDK's client knows the emulator by its keys and nothing else."""
    with open_emulator(scheme=scheme) as emulator:
        async with (
            serving(emulator.app, lifespan="on") as url,
            AsyncLoopPauseClient(
                "key", emulator.fake.secret, url, public_keys=emulator.fake.public_key, env={}
            ) as client,
        ):
            pause_id = await client.create_pause(**QUESTION, idempotency_key="k")
            assert await client.create_pause(**QUESTION, idempotency_key="k") == pause_id
            emulator.fake.decide(pause_id, "rejected", comment="für Müller")
            proof = await client.wait_for_proof(pause_id, poll_interval=0.05)
    assert (proof.decision, proof.comment, proof.scheme) == ("rejected", "für Müller", scheme)


@pytest.mark.parametrize("end", ["expire", "time_out"])
async def test_the_published_client_is_told_that_nobody_answered(
    emulator: Emulator, http: httpx.AsyncClient, end: str
) -> None:
    """A pause that ended without an answer is a denial for looppause 0.1.0."""
    pause_id = emulator.fake.create(QUESTION)["pause_id"]
    getattr(emulator.fake, end)(pause_id)
    client = looppause_client.LoopPauseClient("key", emulator.fake.secret, str(http.base_url))
    with pytest.raises(looppause_client.LoopPauseDenied):
        await asyncio.to_thread(client.wait_for_proof, pause_id)
    client._http.close()


async def test_the_ed25519_key_is_served_where_clients_look_for_it() -> None:
    """What the well-known address serves verifies what the API returns."""
    with open_emulator(scheme="ed25519") as emulator:
        pause_id = emulator.fake.create(QUESTION)["pause_id"]
        emulator.fake.decide(pause_id)
        async with (
            serving(emulator.app, lifespan="on") as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            key = (await http.get("/.well-known/looppause-signing-key.json")).json()["public_key"]
            answered = await http.get(f"/v1/pauses/{pause_id}", headers=BEARER)
    assert verify(answered.content, public_keys=key).scheme == "ed25519"


async def test_due_pauses_end_by_themselves(emulator: Emulator, http: httpx.AsyncClient) -> None:
    """The running emulator applies a fallback without anybody asking for the pause."""
    escalation = {"after_hours": 0.1 / 3600, "fallback_action": "auto_approve"}
    ended = asyncio.Event()
    await http.post("/v1/pauses", json={**QUESTION, "escalation": escalation})
    emulator.fake.listeners.append(lambda _document: ended.set())
    await asyncio.wait_for(ended.wait(), 5)
    (document,) = emulator.fake.pauses.values()
    assert document["proof"]["authorization_type"] == "system_fallback"


@pytest.mark.parametrize(
    "method, path, body, status",
    [
        ("POST", "/v1/pauses", b"{", 400),
        ("POST", "/v1/pauses", b"\xff", 400),
        ("POST", "/v1/pauses", b"x" * 400_000, 413),
        ("POST", "/v1/pauses/pause_x/decision", b'{"decision": "approved"}', 404),
        ("PUT", "/v1/pauses", b"", 405),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/nothing", b"", 404),
        ("DELETE", "/healthz", b"", 405),
    ],
)
async def test_a_bad_request_gets_a_structured_error(
    http: httpx.AsyncClient, method: str, path: str, body: bytes, status: int
) -> None:
    """Never a 500: a status that fits, and a message as JSON."""
    reply = await http.request(method, path, content=body)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


async def test_without_the_bearer_nothing_is_told(http: httpx.AsyncClient) -> None:
    """Every address of the API wants the key it was started with."""
    reply = await http.get("/v1/pauses/x", headers={"Authorization": "Bearer another"})
    assert reply.status_code == 401


async def test_an_endless_body_is_cut_off(http: httpx.AsyncClient) -> None:
    """A body without a length is read only as far as it may go."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 * 1024 * 1024:
            sent += 65536
            yield b"x" * 65536

    # The server may hang up on us before its 413 is read, which is as good.
    with contextlib.suppress(httpx.TransportError):
        reply = await http.post("/v1/pauses", content=endless())
        assert reply.status_code == 413
    assert sent < 64 * 1024 * 1024


async def test_healthz_says_whether_anything_runs(emulator: Emulator) -> None:
    """A mounted app whose `running()` was not entered says so with a 503."""
    outer = Starlette(routes=[Mount("/looppause", emulator.app)])
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        stopped = await http.get("/looppause/healthz")
        async with emulator.running(), emulator.running():
            running = await http.get("/looppause/healthz")
        assert (stopped.status_code, running.status_code) == (503, 200)
        assert "running()" in stopped.json()["do"]


async def test_the_api_works_mounted_under_a_prefix(emulator: Emulator) -> None:
    """The API's paths are found behind a mount."""
    outer = Starlette(routes=[Mount("/looppause", emulator.app)])
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        reply = await http.post("/looppause/v1/pauses", json=QUESTION, headers=BEARER)
    assert reply.status_code == 201


# -- the file --------------------------------------------------------------------------------


def test_the_file_keeps_pauses_keys_and_idempotency(tmp_path: Path) -> None:
    """After a restart everything is as it was, down to the signing keys."""
    file = tmp_path / "deep" / "looppause.db"
    with open_emulator(file=file) as first:
        waiting = first.fake.create(QUESTION, idempotency_key="k")["pause_id"]
        answered = first.fake.create(QUESTION)["pause_id"]
        proof = first.fake.decide(answered)
        secret, public_key = first.fake.secret, first.fake.public_key
    with open_emulator(file=file) as second:
        assert (second.fake.secret, second.fake.public_key) == (secret, public_key)
        assert second.fake.get(answered) == proof
        assert second.fake.create(QUESTION, idempotency_key="k")["pause_id"] == waiting
        assert [document["pause_id"] for document in second.fake.documents()] == [answered, waiting]


def test_a_pause_that_fell_due_while_stopped_ends_at_the_start(tmp_path: Path) -> None:
    """Deadlines go on while nobody runs."""
    with open_emulator(file=tmp_path / "f") as first:
        pause_id = first.fake.create({**QUESTION, "timeout_hours": 1})["pause_id"]
    pauses = PauseFile(tmp_path / "f")
    fake = FakeLoopPause(pauses=pauses, clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    assert fake.get(pause_id)["status"] == "timed_out"
    pauses.close()


def test_a_given_secret_is_used_and_not_kept(tmp_path: Path) -> None:
    """`secret` overrides the file's own, and does not get into it."""
    with open_emulator(file=tmp_path / "f", secret="a-given-secret") as emulator:
        assert emulator.fake.secret == "a-given-secret"
    assert b"a-given-secret" not in (tmp_path / "f").read_bytes()


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    """The file has the signing keys in it; neither it nor what stands beside it is for others."""
    os.close(os.open(tmp_path / "f", os.O_CREAT, 0o644))
    with open_emulator(file=tmp_path / "f") as emulator:
        emulator.fake.create(QUESTION)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_two_emulators_cannot_share_a_file(tmp_path: Path) -> None:
    """The second one is told so, and the first goes on."""
    with open_emulator(file=tmp_path / "f") as first:
        with pytest.raises(PauseFileError, match="another emulator"):
            PauseFile(tmp_path / "f")
        first.fake.create(QUESTION)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough" * 9, None])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A text file or a directory is refused by name, and left alone."""
    path = tmp_path if content is None else tmp_path / "notes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PauseFileError, match=path.name):
        PauseFile(path)
    assert content is None or path.read_bytes() == content


def test_a_pause_can_be_deleted_from_the_file(tmp_path: Path) -> None:
    """The store is a whole mapping: what is deleted stays away."""
    pauses = PauseFile(tmp_path / "f")
    pauses["a"] = {"x": 1}
    pauses["b"] = {"x": 2}
    del pauses["a"]
    pauses.close()
    reopened = PauseFile(tmp_path / "f")
    assert dict(reopened) == {"b": {"x": 2}}
    assert len(reopened) == 1
    reopened.close()
