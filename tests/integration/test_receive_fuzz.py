"""Whatever is sent to the receiver, the answer is one of the documented ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from looppause_sdk.errors import ProofError
from looppause_sdk.proof import verify
from resumer import Resumer
from tests import postgres
from tests.vectors import PUBLIC_KEYS, SECRET, SECRETS, VECTORS
from tests.vectors.signing import APPROVAL, python_signed

TAKEN = {200, 202}
ANSWERS = TAKEN | {400, 401, 413, 415}
LIMIT = 20_000

fuzz = settings(
    max_examples=150,
    deadline=None,
    # The receiver is meant to be the same for all: deliveries may not hinder one another.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
MEMBERS = [*APPROVAL, "channel", "comment", "fields", "signature", "canonical_payload", "metadata"]
OBJECTS = st.dictionaries(st.sampled_from(MEMBERS) | TEXT, VALUES, max_size=6)
GENUINE = [vector.body for vector in VECTORS if vector.expect == "valid"]


@pytest.fixture(scope="module")
def url(postgres_server: postgres.Server) -> Iterator[str]:
    """One database for all that is sent."""
    made = postgres_server.database()
    yield made
    postgres_server.drop(made)


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running receiver; an exception in the receiver is raised here."""
    resumer = Resumer(
        database_url=url,
        signing_secrets=SECRETS,
        public_keys=PUBLIC_KEYS,
        max_body_bytes=LIMIT,
        worker=False,
    )
    transport = httpx.ASGITransport(resumer.app, raise_app_exceptions=True)
    async with (
        resumer.running(),
        httpx.AsyncClient(transport=transport, base_url="http://resumer") as client,
    ):
        yield client


async def post(http: httpx.AsyncClient, body: bytes, headers: Any = None) -> int:
    """Send a body; return its status, after a look at the answer's form."""
    given = [(b"content-type", b"application/json")] if headers is None else headers
    reply = await http.post("/webhooks/looppause", content=body, headers=given)
    assert reply.status_code in ANSWERS
    assert set(reply.json()) == (
        {"status", "pause_id"} if reply.status_code in TAKEN else {"error"}
    )
    return reply.status_code


def is_genuine(body: bytes) -> bool:
    """What the SDK's verifier says, apart from the receiver."""
    try:
        verify(body, secrets=SECRETS, public_keys=PUBLIC_KEYS)
    except ProofError:
        return False
    return True


@fuzz
@example(b"")
@example(b"\xff\xfe{}")
@example(b"[" * LIMIT)
@example(b'{"a":' * 3_000)
@example(b" " * (LIMIT + 1))
@example(b'{"signature":' + b"9" * 10_000 + b"}")
@given(st.binary(max_size=300))
async def test_any_bytes(http: httpx.AsyncClient, body: bytes) -> None:
    """Bytes that nobody signed are refused."""
    assert await post(http, body) in {400, 401, 413}


@fuzz
@given(OBJECTS | VALUES)
async def test_any_json(http: httpx.AsyncClient, value: Any) -> None:
    """JSON of any shape, NaN and lone surrogates included, is refused."""
    assert await post(http, json.dumps(value).encode()) in {400, 401}


@fuzz
@given(OBJECTS, st.booleans())
async def test_any_signed_object(
    http: httpx.AsyncClient, members: dict[str, Any], is_approval: bool
) -> None:
    """What carries our signature is taken or found to be no proof, and never breaks anything."""
    unsigned = {**(APPROVAL if is_approval else {}), **members}
    unsigned = {name: unsigned[name] for name in unsigned if name != "signature"}
    body = json.dumps(python_signed(unsigned, SECRET)).encode()
    assert (await post(http, body) in TAKEN) == is_genuine(body)


@fuzz
@given(st.data())
async def test_any_change_to_a_genuine_proof(http: httpx.AsyncClient, data: st.DataObject) -> None:
    """A genuine proof with bytes replaced, taken out or put in is taken only if it verifies."""
    body = data.draw(st.sampled_from(GENUINE))
    at = data.draw(st.integers(0, len(body) - 1))
    removed = data.draw(st.integers(0, 3))
    inserted = data.draw(
        st.binary(max_size=2) | st.sampled_from([b'"', b"}", b",", b" ", b"\\u0000"])
    )
    changed = body[:at] + inserted + body[at + removed :]
    assert (await post(http, changed) in TAKEN) == is_genuine(changed)


HEADER = st.binary(max_size=30)


@fuzz
@example([(b"content-length", b"9" * 5_000)])
@example([(b"content-length", "²".encode("latin-1"))])
@example([(b"content-type", b";")])
@example([(b"content-type", b"application/json"), (b"content-type", b"text/html")])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"content-type", b"content-length", b"content-encoding", b"x-other"]),
            HEADER | st.sampled_from([b"application/json", b"0", b"12", b"identity", b"gzip"]),
        ),
        max_size=5,
    )
)
async def test_any_headers(http: httpx.AsyncClient, headers: list[tuple[bytes, bytes]]) -> None:
    """Headers of any content lead to an answer, with a genuine proof behind them."""
    assert await post(http, GENUINE[0], headers) in TAKEN | {413, 415}
