"""The receiver's HTTP edge: which status each delivery gets, and that an ack is on disk."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from looppause_sdk.proof import verify
from looppause_sdk.testing import sign_proof
from resumer import Resumer
from resumer.receive import receive
from tests import postgres
from tests.vectors import PUBLIC_KEYS, SECRET, SECRETS, VECTORS, Vector
from tests.vectors.signing import APPROVAL, python_signed

PATH = "/webhooks/looppause"
STATUS = {"valid": 202, "invalid": 401, "malformed": 400}
JSON = {"Content-Type": "application/json"}


@dataclass
class Receiver:
    """A running receiver without a worker, and a way to its database."""

    resumer: Resumer
    url: str
    http: httpx.AsyncClient

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(PATH, content=content, headers={**JSON, **headers})

    def rows(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, options="-c search_path=resumer", row_factory=dict_row) as c:
            return c.execute(query.encode()).fetchall()

    async def cut_off(self) -> None:
        """From now on, each use of the database fails."""
        assert self.resumer._running is not None
        await self.resumer._running.intake.pauses.pool.close()


Open = Callable[..., AbstractAsyncContextManager[Receiver]]


@pytest.fixture(scope="module")
def shared_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A database for all tests that leave its schema whole."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)


@asynccontextmanager
async def receiving(url: str, **settings: Any) -> AsyncIterator[Receiver]:
    """A receiver on the database at `url`."""
    keys = {"signing_secrets": SECRETS, "public_keys": PUBLIC_KEYS}
    resumer = Resumer(database_url=url, worker=False, **{**keys, **settings})
    transport = httpx.ASGITransport(resumer.app)
    async with (
        resumer.running(),
        httpx.AsyncClient(transport=transport, base_url="http://resumer") as http,
    ):
        yield Receiver(resumer, url, http)


def close_database(server: postgres.Server, url: str) -> None:
    """End all connections to a database, and let nobody in any more."""
    name = urlsplit(url).path.removeprefix("/")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'alter database "{name}" with allow_connections false'.encode())
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
        )


@pytest.fixture
def opened(shared_url: str) -> Open:
    """Open receivers on a database that is empty at the start."""
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute("truncate resumer.pauses, resumer.procrastinate_jobs cascade")
    return partial(receiving, shared_url)


@pytest.fixture
async def receiver(opened: Open) -> AsyncIterator[Receiver]:
    """A receiver with the keys of the vectors."""
    async with opened() as made:
        yield made


@pytest.fixture
async def fragile(database_url: str) -> AsyncIterator[Receiver]:
    """A receiver on a database that the test may break."""
    async with receiving(database_url) as made:
        yield made


def signed(**members: Any) -> dict[str, Any]:
    """A genuine proof that says this besides the usual."""
    return python_signed({**APPROVAL, **members}, SECRET)


# -- what comes in ----------------------------------------------------------------------------


async def test_every_vector_gets_its_status(receiver: Receiver) -> None:
    """Genuine proofs are recorded, forgeries are 401, and what proves nothing is 400."""
    connection = await psycopg.AsyncConnection.connect(receiver.url, autocommit=True)
    async with connection:
        for vector in VECTORS:
            await connection.execute("truncate resumer.pauses cascade")
            reply = await receiver.post(vector.body)
            assert (vector.name, reply.status_code) == (vector.name, STATUS[vector.expect])
            stored = receiver.rows("select body from pauses")
            assert [row["body"] for row in stored] == [vector.body] * (vector.expect == "valid")


async def test_what_is_stored_verifies_again(receiver: Receiver) -> None:
    """The stored bytes are those received, and anybody with the key can check them again."""
    spaced = json.dumps(signed(comment="für Müller", amount=1.10), indent=3).encode() + b"\n "
    assert (await receiver.post(spaced)).status_code == 202
    (row,) = receiver.rows("select body, fingerprint, responder, decision, key_id from pauses")
    proof = verify(row["body"], secrets=SECRETS)
    assert row["body"] == spaced
    assert row["fingerprint"] == proof.fingerprint
    assert (row["responder"], row["decision"]) == (APPROVAL["responder"], "approved")
    assert row["key_id"] == proof.key_id


async def test_a_duplicate_is_counted_and_adds_no_work(receiver: Receiver) -> None:
    """The first copy is accepted, further ones are acknowledged and counted."""
    proof = signed()
    replies = [await receiver.post(proof) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [202, 200, 200]
    assert replies[0].json() == {"status": "accepted", "pause_id": "pause_1"}
    assert replies[2].json() == {"status": "duplicate", "pause_id": "pause_1"}
    assert receiver.rows("select deliveries from pauses") == [{"deliveries": 3}]
    assert len(receiver.rows("select from procrastinate_jobs")) == 1


async def test_the_same_decision_in_other_words_is_a_duplicate(receiver: Receiver) -> None:
    """Spacing, member order and members that decide nothing do not make another decision."""
    first, second = signed(), signed(trace="another attempt")
    assert (await receiver.post(first)).status_code == 202
    body = json.dumps(dict(reversed(second.items())), indent=1).encode()
    assert (await receiver.post(body)).json()["status"] == "duplicate"
    assert receiver.rows("select from conflicts") == []


async def test_the_first_decision_stands(receiver: Receiver) -> None:
    """A contradicting genuine proof is kept aside, counted, and never applied."""
    approval, refusal = signed(), signed(decision="rejected", responder="mallory\0\ud800")
    assert (await receiver.post(approval)).status_code == 202
    replies = [await receiver.post(refusal) for _ in range(2)]
    assert [(reply.status_code, reply.json()["status"]) for reply in replies] == [
        (200, "conflict")
    ] * 2
    assert receiver.rows("select decision, state from pauses") == [
        {"decision": "approved", "state": "answered"}
    ]
    (kept,) = receiver.rows("select decision, body, deliveries, responder from conflicts")
    assert (kept["decision"], kept["deliveries"]) == ("rejected", 2)
    assert json.loads(kept["body"]) == refusal
    assert len(receiver.rows("select from procrastinate_jobs")) == 1


async def test_concurrent_copies_make_one_job(receiver: Receiver) -> None:
    """However many copies come at once, one is accepted and one job is enqueued."""
    proof = signed()
    replies = await asyncio.gather(*(receiver.post(proof) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [202]
    assert receiver.rows("select args, lock, status::text from procrastinate_jobs") == [
        {"args": {"pause_id": "pause_1"}, "lock": "pause_1", "status": "todo"}
    ]
    assert receiver.rows("select deliveries from pauses") == [{"deliveries": 20}]


@pytest.mark.parametrize(
    "members",
    [
        {"comment": "a\0b\ud800", "responder": "\0\udfff", "channel": "\0", "responded_at": "\0"},
        {"responder": "x" * 100_000},
        {"fields": {"\0": ["\ud83d"]}, "responded_at": 5},
        {"pause_id": "ü" * 255},
        {"pause_id": "'; drop table pauses --"},
    ],
    ids=["NUL and surrogates", "long", "fields", "long pause id", "SQL"],
)
async def test_whatever_people_write_is_stored(receiver: Receiver, members: dict[str, Any]) -> None:
    """Text that PostgreSQL cannot hold does not keep a genuine proof from being recorded."""
    proof = signed(**members)
    assert (await receiver.post(proof)).status_code == 202
    (row,) = receiver.rows("select pause_id, body from pauses")
    assert row["pause_id"] == proof["pause_id"]
    assert json.loads(row["body"]) == proof


@pytest.mark.parametrize("pause_id", ["", "a\0b", "\ud800", "x" * 256, 7, None, " \n"])
async def test_an_unusable_pause_id_is_refused(receiver: Receiver, pause_id: Any) -> None:
    """A signed proof whose pause nobody could name is no usable proof."""
    reply = await receiver.post(signed(pause_id=pause_id))
    assert reply.status_code == 400
    assert "`pause_id` must be 1 to 255 printable characters" in reply.json()["error"]


# -- what is refused --------------------------------------------------------------------------


async def test_all_forgeries_get_the_same_answer(receiver: Receiver) -> None:
    """A 401 does not say what was wrong, and shows nothing of what was sent."""
    forged = [vector for vector in VECTORS if vector.expect == "invalid"]
    answers = {(await receiver.post(vector.body)).content for vector in forged}
    assert answers == {b'{"error":"not genuine"}'}


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v.name in ("approved_human", "ed25519_wrong_key")], ids=str
)
async def test_what_is_refused_costs_no_database(receiver: Receiver, vector: Vector) -> None:
    """With the database unusable, forgeries are still 401, and only the genuine gets a 503."""
    await receiver.cut_off()
    expected = 503 if vector.expect == "valid" else STATUS[vector.expect]
    assert (await receiver.post(vector.body)).status_code == expected
    assert (await receiver.post(b"not json")).status_code == 400
    assert (await receiver.post(b"", **{"Content-Type": "text/html"})).status_code == 415


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 202),
        ({"Content-Type": "application/json; charset=utf-8"}, 202),
        ({"Content-Type": "Application/JSON"}, 202),
        ({"Content-Type": "application/vnd.looppause+json"}, 202),
        ({"Content-Encoding": "identity"}, 202),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "json"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
    ids=str,
)
async def test_only_json_is_taken(receiver: Receiver, headers: dict[str, str], status: int) -> None:
    """Another media type or an encoding is 415, and says what to send."""
    reply = await receiver.post(signed(), **headers)
    assert reply.status_code == status
    if status == 415:
        assert reply.json()["error"].startswith("send the proof ")


async def test_a_missing_content_type_is_taken_for_json(receiver: Receiver) -> None:
    """What the webhook's headers are is not known: none at all will do."""
    request = httpx.Request("POST", f"http://resumer{PATH}", content=json.dumps(signed()))
    assert "content-type" not in request.headers
    assert (await receiver.http.send(request)).status_code == 202


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("DELETE", PATH, 405),
        ("POST", "/webhooks", 404),
        ("POST", PATH + "/x", 404),
        ("POST", "/", 405),
        ("POST", "/healthz", 405),
    ],
)
async def test_other_methods_and_paths(
    receiver: Receiver, method: str, path: str, status: int
) -> None:
    """There is one address, and one method for it."""
    assert (await receiver.http.request(method, path, json=signed())).status_code == status


# -- size and speed ---------------------------------------------------------------------------


async def chunks(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    """A body in parts, so that no length is declared."""
    for part in parts:
        yield part
        await asyncio.sleep(pause)


async def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(opened: Open) -> None:
    """The limit counts bytes, declared or not."""
    body = json.dumps(signed()).encode()
    async with opened(max_body_bytes=len(body)) as receiver:
        assert (await receiver.post(body)).status_code == 202
        assert (await receiver.post(body + b" ")).status_code == 413
        for length, status in ((0, 200), (1, 413)):
            parts = chunks(body[:20], body[20:], b" " * length)
            reply = await receiver.http.post(PATH, content=parts, headers=JSON)
            assert reply.status_code == status


async def test_a_declared_length_over_the_limit_is_refused_unread(receiver: Receiver) -> None:
    """Not one byte is read of a body that says it is too large."""
    headers = {**JSON, "Content-Length": str(256 * 1024 + 1)}
    reply = await _bare(receiver.resumer.app, headers=headers, body=None)
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert json.loads(reply.body) == {"error": "the proof has at most 262144 bytes"}


@pytest.mark.parametrize("length", ["9" * 5000, "²", "-1", "1e9", "0x10", "", "0"])
async def test_an_odd_declared_length_is_no_fault_of_ours(receiver: Receiver, length: str) -> None:
    """Whatever the header says, the answer is one of the documented ones."""
    headers = {**JSON, "content-length": length}
    reply = await _bare(receiver.resumer.app, headers=headers, body=json.dumps(signed()).encode())
    assert reply.status == (413 if length.startswith("9") else 202)


async def test_a_stream_is_cut_off_at_the_limit(opened: Open) -> None:
    """A body without end is not read to its end."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1000

    async with opened(max_body_bytes=10_000) as receiver:
        app = receiver.resumer.app
        reply = await _bare(app, headers=JSON, body=endless())
    assert (reply.status, sent) == (413, 11)


async def test_a_slow_body_is_given_up(receiver: Receiver) -> None:
    """A sender that dawdles gets a 408 and the connection closed; a brisk one is heard."""
    assert receiver.resumer._running is not None
    intake = receiver.resumer._running.intake

    async def endpoint(request: Request) -> JSONResponse:
        return await receive(request, intake, max_bytes=10_000, slow_seconds=0.2)

    app = Starlette(routes=[Route(PATH, endpoint, methods=["POST"])])
    body = json.dumps(signed()).encode()
    parts = [body[at : at + 100] for at in range(0, len(body), 100)]
    slow = await _bare(app, headers=JSON, body=chunks(*parts, pause=0.15))
    brisk = await _bare(app, headers=JSON, body=chunks(*parts, pause=0.001))
    assert (slow.status, slow.headers["connection"], brisk.status) == (408, "close", 202)


async def test_a_body_that_is_cut_off_is_not_recorded(receiver: Receiver) -> None:
    """A sender that disconnects half-way leaves nothing behind."""

    async def cut_off() -> AsyncIterator[bytes | None]:
        yield json.dumps(signed()).encode()
        yield None

    reply = await _bare(receiver.resumer.app, headers=JSON, body=cut_off())
    assert reply.status == 400
    assert receiver.rows("select from pauses") == []


# -- nothing is acknowledged that is not on disk ------------------------------------------------


async def test_a_database_that_is_gone_is_503(
    fragile: Receiver, postgres_server: postgres.Server
) -> None:
    """No ack without a record: the sender is told to come again, and to the process all is well."""
    assert fragile.resumer._running is not None
    fragile.resumer._running.intake.pauses.pool.timeout = 0.5
    close_database(postgres_server, fragile.url)
    reply = await fragile.post(signed())
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert reply.json() == {"error": "not recorded; deliver it again later"}
    assert (await fragile.http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "breaking",
    [
        "drop schema resumer cascade",
        "drop table resumer.conflicts",
        "alter table resumer.pauses add check (responder is null)",
        "drop function resumer.procrastinate_defer_jobs_v1",
    ],
)
async def test_whatever_keeps_the_record_from_disk_is_503(
    fragile: Receiver, breaking: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A schema that is not as it should be is never acknowledged, nor does a log quote the row."""
    with psycopg.connect(fragile.url, autocommit=True) as connection:
        connection.execute(breaking.encode())
    assert (await fragile.post(signed(responder="somebody"))).status_code == 503
    assert "the proof could not be recorded: " in caplog.text
    assert "somebody" not in caplog.text


async def test_a_record_and_its_job_are_one_commit(fragile: Receiver) -> None:
    """Where the job cannot be enqueued, the proof is not recorded either."""
    with psycopg.connect(fragile.url, autocommit=True) as connection:
        connection.execute("drop table resumer.procrastinate_jobs cascade")
    assert (await fragile.post(signed())).status_code == 503
    assert fragile.rows("select from pauses") == []


async def test_a_receiver_that_is_not_started_says_what_to_do(shared_url: str) -> None:
    """Forgetting the lifespan shows at the first delivery, with the remedy."""
    resumer = Resumer(database_url=shared_url, signing_secrets=[SECRET])
    transport = httpx.ASGITransport(resumer.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        reply = await http.post(PATH, json=signed())
        ready = await http.get("/readyz")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert "enter `resumer.lifespan` in the host application's lifespan" in reply.json()["error"]
    assert ready.status_code == 503


async def test_after_stopping_deliveries_are_turned_away(opened: Open) -> None:
    """A receiver that has stopped acknowledges nothing."""
    async with opened() as receiver:
        pass
    transport = httpx.ASGITransport(receiver.resumer.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://resumer") as http:
        assert (await http.post(PATH, json=signed())).status_code == 503


# -- logs ---------------------------------------------------------------------------------------


async def test_logs_name_the_pause_and_hide_the_rest(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """No secret, no signature, no comment and no answer gets into a log line."""
    caplog.set_level(logging.DEBUG)
    fields = {"iban": "DE02-private-fields"}
    genuine = signed(comment="a private comment", fields=fields)
    forged = {**genuine, "decision": "rejected"}
    other = sign_proof({**genuine, "decision": "rejected"}, secret=SECRET)
    for proof in (genuine, genuine, forged, other, {**genuine, "pause_id": None}):
        await receiver.post(proof)
    await receiver.post(b"\xff" + json.dumps(genuine).encode())
    await receiver.cut_off()
    await receiver.post(genuine)
    logged = "\n".join(f"{r.getMessage()} {r.exc_text} {vars(r)}" for r in caplog.records)
    assert "pause_1" in logged
    for private in (*SECRETS, genuine["signature"], other["signature"], "private"):
        assert private not in logged
    assert set(re.findall(r"'event': '(\w+)'", logged)) >= {
        "delivery",
        "delivery_malformed",
        "delivery_not_genuine",
        "delivery_not_recorded",
    }


# -- plain ASGI, for what an HTTP client would not send -----------------------------------------


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def _bare(app: Any, *, headers: Mapping[str, str], body: Any) -> Reply:
    """POST by hand. `body` is bytes, None for one that must not be read, or an async iterator.

    An iterator that yields None disconnects there.
    """
    parts = body if hasattr(body, "__aiter__") else chunks(body or b"")
    sent: list[dict[str, Any]] = []

    async def receive_message() -> dict[str, Any]:
        assert body is not None, "the body was read"
        async for part in parts:
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [
        (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()
    ]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": raw}
    await app(scope, receive_message, send)
    start, *rest = sent
    replied = {name.decode(): text.decode() for name, text in start["headers"]}
    return Reply(start["status"], replied, b"".join(message.get("body", b"") for message in rest))


async def test_only_named_addresses_may_deliver(shared_url: str) -> None:
    """Another is told nothing but no, before its body is read; what else is served stays open."""
    proof = python_signed({**APPROVAL, "pause_id": "pause_from_somewhere"}, SECRET)
    settings = {"allowed_ips": ("198.51.100.0/24",), "trusted_proxies": ("127.0.0.1",)}
    async with receiving(shared_url, **settings) as receiver:
        direct = await receiver.post(proof)
        spoofed = await receiver.post(proof, **{"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
        assert [(r.status_code, r.json()) for r in (direct, spoofed)] == [
            (403, {"error": "forbidden"})
        ] * 2
        through = await receiver.post(proof, **{"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})
        assert through.status_code == 202
        assert (await receiver.http.get("/healthz")).status_code == 200
