"""The operator API over a running receiver and a real database."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from resumer import Resumer
from resumer.db import connect
from resumer.operator.openapi import document
from resumer.serving import serving
from tests import many_pauses
from tests.integration.conftest import Rig

READER, ACTOR = "a-token-that-only-reads", "a-token-that-acts-too"
TOKENS: dict[str, Any] = {"read_tokens": [f"rita:{READER}"], "act_tokens": [f"ada:{ACTOR}"]}
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def client_of(
    resumer: Resumer, token: str | None = ACTOR
) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(resumer.app), base_url="http://resumer", headers=headers
    ) as http:
        yield http


@pytest.fixture
async def web(rig: Rig) -> Resumer:
    """A receiver that resumes nothing."""
    resumer = Resumer(database_url=rig.url, signing_secrets=["s"], worker=False, **TOKENS)
    return await rig.stack.enter_async_context(resumer.running())


@pytest.fixture
async def http(web: Resumer) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(web) as client:
        yield client


@pytest.fixture
async def filled(rig: Rig, http: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same over a few hundred pauses."""
    async with await connect(rig.url, schema="resumer") as connection:
        await many_pauses.fill(connection, 300)
    return http


async def one(http: httpx.AsyncClient, state: str) -> str:
    """The id of a pause in this state."""
    page = (await http.get("/api/pauses", params={"state": state, "limit": 1})).json()
    return str(page["rows"][0]["pause_id"])


ADDRESSES = [
    ("GET", "/api/overview"),
    ("GET", "/api/pauses"),
    ("GET", "/api/pauses/p1"),
    ("GET", "/api/pauses/p1/explanation"),
    ("POST", "/api/pauses/p1/retry"),
    ("POST", "/api/pauses/retry"),
    ("POST", "/api/pauses/p1/discard"),
    ("GET", "/api/agents/a/hold"),
    ("PUT", "/api/agents/a/hold"),
    ("DELETE", "/api/agents/a/hold"),
    ("GET", "/api/audit"),
]


def test_every_address_is_in_the_document() -> None:
    """And the document has no others but its own."""
    listed = {
        (method.upper(), path.format(pause_id="p1", agent_id="a"))
        for path, methods in document()["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert listed == {*ADDRESSES, ("GET", "/api/openapi.json")}


def test_the_document_is_valid_openapi() -> None:
    """By the specification's own schema, wherever it is mounted."""
    for prefix in ("", "/resumer"):
        text = json.dumps(document(prefix))
        assert list(OpenAPIV31SpecValidator(json.loads(text)).iter_errors()) == []
    assert json.loads(text)["servers"] == [{"url": "/resumer"}]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
async def test_who_may_do_what(web: Resumer, method: str, path: str) -> None:
    """No token and a wrong one: nothing. One that reads: no acts. Nothing is done meanwhile."""
    for token in (None, "a-token-that-nobody-has", READER[:-1]):
        async with client_of(web, token) as http:
            reply = await http.request(method, path)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert "token" in reply.json()["error"]
    async with client_of(web, READER) as http:
        reply = await http.request(method, path)
        assert (reply.status_code == 403) == (method != "GET")
        if method != "GET":
            assert reply.json()["error"].startswith("rita may look and not act")
        assert (await http.get("/api/audit")).json() == {"entries": []}


@pytest.mark.parametrize(("method", "path"), [*ADDRESSES, ("GET", "/api/openapi.json")])
async def test_without_tokens_there_is_no_api(rig: Rig, method: str, path: str) -> None:
    """404, whoever asks, and it says what would turn it on."""
    resumer = Resumer(database_url=rig.url, signing_secrets=["s"])
    async with client_of(resumer, ACTOR) as http:
        reply = await http.request(method, path)
    assert reply.status_code == 404
    assert "RESUMER_ACT_TOKENS" in reply.json()["error"]


async def test_not_started_and_database_away(rig: Rig) -> None:
    """503 and when to ask again; no word of what the database said."""
    resumer = Resumer(database_url=rig.url, signing_secrets=["s"], worker=False, **TOKENS)
    async with client_of(resumer) as http:
        reply = await http.get("/api/overview")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        async with resumer.running():
            assert (await http.get("/api/overview")).status_code == 200
            await rig.rows("alter table pauses rename to gone")
            reply = await http.get("/api/pauses")
            assert reply.status_code == 503
            assert reply.json()["error"].startswith("the database does not answer")


async def test_nothing_else_is_there(http: httpx.AsyncClient) -> None:
    """Other addresses and methods, as JSON where it is ours to say."""
    for path in ("/api", "/api/", "/api/nothing", "/api/pauses/", "/api/agents/a"):
        reply = await http.get(path, follow_redirects=True)
        assert reply.status_code in (400, 404), path
        assert reply.headers["content-type"] == "application/json"
    assert (await http.get("/api/pauses/a%0Ab")).json()["error"]
    reply = await http.put("/api/pauses")
    assert (reply.status_code, {*reply.headers["allow"].split(", ")}) == (405, {"GET", "HEAD"})
    reply = await http.head("/api/pauses")
    assert (reply.status_code, reply.content) == (200, b"")


async def test_pages_lead_on_from_one_to_the_next(filled: httpx.AsyncClient) -> None:
    """As JSON, nothing of it kept by anybody on the way."""
    reply = await filled.get("/api/pauses", params={"limit": 200})
    assert reply.headers["cache-control"] == "no-store"
    first = reply.json()
    rest = await filled.get("/api/pauses", params={"limit": 200, "cursor": first["next_cursor"]})
    rows = [*first["rows"], *rest.json()["rows"]]
    assert len({row["pause_id"] for row in rows}) == 300
    assert rest.json()["next_cursor"] is None
    assert [row["created_at"] for row in rows] == sorted(
        (row["created_at"] for row in rows), reverse=True
    )


async def test_pages_are_narrowed(filled: httpx.AsyncClient) -> None:
    """By each of the parameters, all of them at once."""
    rows = (await filled.get("/api/pauses", params={"limit": 500})).json()["rows"]
    parked = next(row for row in rows if row["state"] == "parked" and row["reason_code"])
    narrowed = {
        "state": ["failed", parked["state"]],
        "agent_id": parked["agent_id"],
        "thread_id": parked["thread_id"],
        "reason_code": parked["reason_code"],
        "created_after": parked["created_at"],
        "created_before": "2999-01-01T00:00:00.123456789+01:00",
        "text": parked["description"][4:12],
    }
    reply = await filled.get("/api/pauses", params=narrowed)
    assert reply.json() == {"rows": [parked], "next_cursor": None}


BAD_QUERIES = [
    ("/api/pauses?limit=0", "limit"),
    ("/api/pauses?limit=501", "limit"),
    ("/api/pauses?limit=ten", "limit"),
    ("/api/pauses?limit=5&limit=6", "limit"),
    ("/api/pauses?limit=%D9%A1", "limit"),
    ("/api/pauses?state=asleep", "state"),
    ("/api/pauses?state=", "state"),
    ("/api/pauses?agent_id=", "agent_id"),
    ("/api/pauses?agent=a", "agent"),
    ("/api/pauses?text=%00", "text"),
    (f"/api/pauses?text={'x' * 1001}", "text"),
    ("/api/pauses?created_after=yesterday", "created_after"),
    ("/api/pauses?created_after=2026-11-22", "created_after"),
    ("/api/pauses?created_after=2026-11-22T03:00:00", "created_after"),
    ("/api/pauses?created_after=2026-11-22T03:00:00+01:00", "created_after"),
    ("/api/pauses?created_before=2026-13-01T00:00:00Z", "created_before"),
    ("/api/pauses?cursor=abc", "cursor"),
    ("/api/pauses/p1?verbose=1", "verbose"),
    ("/api/pauses/p%01", "pause_id"),
    (f"/api/pauses/{'p' * 256}", "pause_id"),
    ("/api/overview?hours=0", "hours"),
    ("/api/overview?hours=2161", "hours"),
    ("/api/audit?limit=-1", "limit"),
    ("/api/agents/a%7f/hold", "agent_id"),
]


@pytest.mark.parametrize(("address", "parameter"), BAD_QUERIES)
async def test_what_cannot_be_meant_is_named(
    http: httpx.AsyncClient, address: str, parameter: str
) -> None:
    """400, and which parameter it is."""
    reply = await http.get(address)
    assert reply.status_code == 400
    assert reply.json()["parameter"] == parameter
    assert reply.json()["error"].startswith(f"{parameter}: ")


BAD_BODIES = [
    (b"{", "body"),
    (b"[]", "body"),
    (b"7", "body"),
    (b"\xff", "body"),
    (b"[" * 60_000, "body"),
    (b'{"dryrun": false}', "dryrun"),
    (b'{"dry_run": "false"}', "dry_run"),
    (b'{"dry_run": 0}', "dry_run"),
    (b'{"most": 0}', "most"),
    (b'{"most": true}', "most"),
    (b'{"most": 1.5}', "most"),
    (b'{"filter": []}', "filter"),
    (b'{"filter": {"states": ["parked"]}}', "states"),
    (b'{"filter": {"state": []}}', "state"),
    (b'{"filter": {"state": [["parked"]]}}', "state"),
    (b'{"filter": {"state": {"parked": 1}}}', "state"),
    (b'{"filter": {"text": 7}}', "text"),
    (b'{"filter": {"text": "\\ud800"}}', "text"),
    (b'{"filter": {"created_after": 0}}', "created_after"),
]


@pytest.mark.parametrize(("body", "parameter"), BAD_BODIES)
async def test_a_body_that_cannot_be_meant_does_nothing(
    http: httpx.AsyncClient, body: bytes, parameter: str
) -> None:
    """400, which member it is, and no pause is touched."""
    headers = {"Content-Type": "application/json"}
    reply = await http.post("/api/pauses/retry", content=body, headers=headers)
    assert (reply.status_code, reply.json()["parameter"]) == (400, parameter)
    assert (await http.get("/api/audit")).json()["entries"] == []


@pytest.mark.parametrize("path", ["/api/pauses/retry", "/api/pauses/p1/discard"])
async def test_bodies_are_json_and_not_too_large(http: httpx.AsyncClient, path: str) -> None:
    """415 and 413, before anything is looked at."""
    reply = await http.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415
    reply = await http.post(path, json={"reason": "x" * 70_000})
    assert reply.status_code == 413
    assert (await http.put("/api/agents/a/hold", json={"reason": "x" * 501})).status_code == 400


async def test_one_pause_and_why_it_is_not_resumed(filled: httpx.AsyncClient) -> None:
    """The detail and the explanation that pages and shell show, too."""
    pause_id = await one(filled, "parked")
    detail = (await filled.get(f"/api/pauses/{pause_id}")).json()
    assert detail["row"]["pause_id"] == pause_id
    assert detail["action"]["type"] == "payment"
    assert json.loads(detail["proof"])["pause_id"] == pause_id
    assert len(detail["siblings"]) == 2
    told = (await filled.get(f"/api/pauses/{pause_id}/explanation")).json()
    assert told["commands"]
    assert {"name": "workers alive", "text": "0"} in told["facts"]
    for path in ("", "/explanation"):
        reply = await filled.get(f"/api/pauses/nobody%20knows/it{path}")
        assert reply.status_code == 404
        assert reply.json()["error"] == "no pause nobody knows/it has been seen here"


async def test_retrying_one(filled: httpx.AsyncClient) -> None:
    """Once done it is on its way; for others it says why there is nothing to retry."""
    pause_id = await one(filled, "failed")
    address = f"/api/pauses/{pause_id}/retry"
    assert (await filled.post(address)).json() == {"pause_id": pause_id, "retried": True}
    assert (await filled.post(address)).json() == {"pause_id": pause_id, "retried": False}
    for state in ("waiting", "resumed"):
        reply = await filled.post(f"/api/pauses/{await one(filled, state)}/retry")
        assert reply.status_code == 409
        assert reply.json()["error"].startswith(f"the pause is {state}: ")
    assert (await filled.post("/api/pauses/p9/retry")).status_code == 404
    [entry] = (await filled.get("/api/audit")).json()["entries"]
    assert (entry["who"], entry["action"], entry["target"]) == ("ada", "retried", pause_id)


async def test_retrying_all_that_match_is_dry_unless_told(filled: httpx.AsyncClient) -> None:
    """Without a body nothing is done; told so, what the dry run named is done."""
    dry = (await filled.post("/api/pauses/retry")).json()
    assert (dry["dry_run"], dry["count"]) == (True, len(dry["pause_ids"]))
    asked = {"filter": {"state": ["parked"], "reason_code": "raised"}, "dry_run": True}
    would = (await filled.post("/api/pauses/retry", json=asked)).json()
    assert 0 < would["count"] < dry["count"]
    assert (await filled.get("/api/audit", params={"limit": 1})).json()["entries"] == []
    done = (await filled.post("/api/pauses/retry", json={**asked, "dry_run": False})).json()
    assert done["pause_ids"] == would["pause_ids"]
    assert (await filled.post("/api/pauses/retry", json={**asked, "most": 5})).json()["count"] == 0


async def test_discarding(filled: httpx.AsyncClient) -> None:
    """A parked pause is, with the reason in the audit; one that runs is not."""
    pause_id = await one(filled, "parked")
    address = f"/api/pauses/{pause_id}/discard"
    reply = await filled.post(address, json={"reason": "paid by hand"})
    assert reply.json() == {"pause_id": pause_id, "discarded": True}
    assert (await filled.post(address)).json() == {"pause_id": pause_id, "discarded": False}
    reply = await filled.post(f"/api/pauses/{await one(filled, 'resuming')}/discard")
    assert reply.status_code == 409
    assert "it is being resumed now" in reply.json()["error"]
    assert (await filled.get(f"/api/pauses/{pause_id}")).json()["row"]["state"] == "discarded"
    [entry] = (await filled.get("/api/audit")).json()["entries"]
    assert entry["detail"] == {"reason": "paid by hand"}


async def test_holding_and_releasing_an_agent(http: httpx.AsyncClient) -> None:
    """Both can be repeated; an agent's name may have anything in it but control characters."""
    address = "/api/agents/team%2Fpay%20%E2%82%AC/hold"
    assert (await http.get(address)).status_code == 404
    held = (await http.put(address, json={"reason": "deploying"})).json()
    assert (held["agent_id"], held["held_by"], held["reason"]) == (
        "team/pay \N{EURO SIGN}",
        "ada",
        "deploying",
    )
    assert (await http.put(address)).json() == held
    assert (await http.get(address)).json() == held
    assert (await http.get("/api/overview")).json()["held"] == [held]
    for _ in range(2):
        assert (await http.delete(address)).status_code == 204
    actions = [entry["action"] for entry in (await http.get("/api/audit")).json()["entries"]]
    assert actions == ["released", "held"]


async def test_waiting_clients_are_answered_as_before(rig: Rig) -> None:
    """`GET /pauses/{id}` takes act tokens, too, and the API's own pages are others."""
    resumer = await rig.receiver(**TOKENS)
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    for token in (READER, ACTOR):
        async with client_of(resumer, token) as http:
            reply = await http.get(f"/pauses/{pause_id}", params={"wait": 5})
            assert json.loads(reply.json()["proof"])["decision"] == "approved"


async def test_it_is_found_under_the_prefix_of_a_host(rig: Rig) -> None:
    """Mounted, the document names the prefix, and its addresses lead here."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    resumer = Resumer(database_url=rig.url, signing_secrets=["s"], worker=False, **TOKENS)
    host = Starlette(routes=[Mount("/resumer", resumer.app)])
    headers = {"Authorization": f"Bearer {ACTOR}"}
    transport = httpx.ASGITransport(host)
    async with (
        resumer.running(),
        httpx.AsyncClient(transport=transport, base_url="http://host", headers=headers) as http,
    ):
        found = (await http.get("/resumer/api/openapi.json")).json()
        assert found["servers"] == [{"url": "/resumer"}]
        assert (await http.get("/resumer/api/overview")).status_code == 200


@pytest.mark.timeout(180)
async def test_schemathesis_finds_nothing(
    web: Resumer, filled: httpx.AsyncClient, tmp_path: Path
) -> None:
    """Against a real server: whatever it makes up, each answer is as the document says."""
    page = (await filled.get("/api/pauses", params={"limit": 20})).json()
    env = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "KNOWN_CURSOR": page["next_cursor"],
        "KNOWN_PAUSES": ",".join(row["pause_id"] for row in page["rows"]),
    }
    async with serving(web.app, "127.0.0.1", 0, drain_seconds=3.0) as address:
        options = ["--max-examples", "15", "--seed", "10", "--no-color", "--suppress-health-check"]
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{address}/api/openapi.json",
            "--header",
            f"Authorization: Bearer {ACTOR}",
            *[*options, "all"],
            env=env,
            cwd=tmp_path,  # it keeps what it tried there
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "11 passed" in output.decode()
