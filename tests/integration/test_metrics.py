"""What Prometheus is told: what was counted, what stands in the database, and who may see it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from looppause_sdk.proof import key_id
from resumer import Resumer
from resumer.db import connect
from resumer.errors import SettingsError
from resumer.gauges import Gauges
from resumer.sql import statement
from tests import agents
from tests.integration.conftest import Rig, Sweeping, until
from tests.many_pauses import fill

READ, ACT = "reader-of-the-metrics", "actor-on-the-pauses"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Told:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float:
        return self.samples.get((f"resumer_{name}", frozenset(labels.items())), -1.0)


def http_to(resumer: Resumer) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(resumer.app), base_url="http://resumer")


async def told(resumer: Resumer) -> Told:
    """What it says now, whatever it said a moment ago."""
    assert resumer._running is not None
    resumer._running.gauges._read_at = float("-inf")
    async with http_to(resumer) as http:
        response = await http.get("/metrics")
    assert response.status_code == 200
    return Told(response.text)


async def told_once(resumer: Resumer, name: str, **labels: str) -> Told:
    """What it says when this has been counted once."""

    async def counted() -> Told | None:
        now = await told(resumer)
        return now if now(name, **labels) == 1 else None

    seen: Told = await until(counted)
    return seen


async def post(resumer: Resumer, body: bytes, **headers: str) -> int:
    async with http_to(resumer) as http:
        headers = {"Content-Type": "application/json", **headers}
        return (await http.post("/webhooks/looppause", content=body, headers=headers)).status_code


@pytest.fixture
async def resumer(rig: Rig) -> Resumer:
    return await rig.receiver(metrics_public=True)


async def test_deliveries_are_counted_by_result(rig: Rig, resumer: Resumer) -> None:
    """Each way in which a delivery can end has a count of its own."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)
    for _ in range(3):
        await rig.deliver(resumer, proof)
    said = {name: value for name, value in proof.items() if name != "signature"}
    await rig.deliver(resumer, rig.looppause.sign({**said, "decision": "rejected"}))
    await rig.deliver(resumer, {**proof, "signature": "0" * 64})
    assert await post(resumer, b"[]") == 400
    assert await post(resumer, b"{}", **{"Content-Type": "text/plain"}) == 415

    counted = await told(resumer)
    results = {
        "accepted": 1,
        "duplicate": 2,
        "conflict": 1,
        "not_genuine": 1,
        "malformed": 1,
        "refused": 1,
        "not_recorded": 0,
    }
    assert {r: counted("deliveries_total", result=r) for r in results} == results


async def test_proofs_are_counted_by_key_and_forgeries_by_scheme(
    rig: Rig, resumer: Resumer
) -> None:
    """The key that verified shows which one is still in use; a forgery has none."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id)
    await rig.deliver(resumer, proof)
    await rig.deliver(resumer, {**proof, "decision": "rejected"})
    await rig.deliver(resumer, {"canonical_payload": "{}", "signature": "AAAA"})

    counted = await told(resumer)
    used = key_id(rig.looppause.secret)
    assert counted("verified_total", scheme="hmac", key_id=used) == 1
    assert counted("signature_failures_total", scheme="hmac") == 1
    assert counted("signature_failures_total", scheme="ed25519") == 1


async def test_a_resume_is_timed_from_delivery_to_end(rig: Rig, resumer: Resumer) -> None:
    """One resume is one attempt, one outcome, and one observation of each duration."""
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "resumed")

    seen = await told_once(resumer, "outcomes_total", outcome="resumed")
    assert seen("attempts_total") == 1
    assert seen("resume_seconds_count", outcome="resumed") == 1
    assert seen("wake_up_seconds_count", until="began") == 1
    assert seen("wake_up_seconds_count", until="resumed") == 1
    assert seen("wake_up_seconds_sum", until="began") > 0
    assert seen("wake_up_seconds_sum", until="began") < seen("wake_up_seconds_sum", until="resumed")
    assert seen("lock_wait_seconds_count", had="yes") == 1


async def test_only_the_first_attempt_is_a_wake_up(rig: Rig) -> None:
    """A graph that raises is tried again, and parked in the end: by its reason code."""

    def pay(_: Any) -> dict[str, Any]:
        raise RuntimeError("no money")

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph}, metrics_public=True)
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id))
    await rig.until_state(pause_id, "parked")

    seen = await told_once(resumer, "parked_total", reason="raised")
    assert seen("attempts_total") == 3
    assert seen("wake_up_seconds_count", until="began") == 1
    assert seen("outcomes_total", outcome="failed") == 2
    assert seen("resume_seconds_count", outcome="parked") == 1
    assert seen("pauses", state="parked") == 1
    assert seen("parked_pauses", reason="raised") == 1
    assert seen("oldest_parked_seconds") > 0
    assert seen("oldest_unresolved_seconds") == 0


async def test_what_stands_in_the_database_is_read_from_it(rig: Rig) -> None:
    """A process that resumes nothing says what waits, and that nobody works."""
    web = Resumer(
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        worker=False,
        metrics_public=True,
    )
    await rig.stack.enter_async_context(web.running())
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    await rig.deliver(web, rig.looppause.decide(pause_id))
    await rig.rows("insert into holds (agent_id, held_by) values ('a', 'ada')")
    await rig.rows("update pauses set received_at = now() - interval '90 seconds'")
    await rig.rows("update procrastinate_events set at = now() - interval '50 seconds'")

    seen = await told(web)
    assert seen("pauses", state="answered") == 1
    assert seen("pauses", state="waiting") == 0
    assert seen("jobs_queued") == 1
    assert 50 <= seen("oldest_queued_seconds") < 80
    assert seen("workers_alive") == 0
    assert seen("agents_held") == 1
    assert 90 <= seen("oldest_unresolved_seconds") < 120
    assert seen("last_sweep_timestamp_seconds") == 0
    assert seen("database_up") == 1


async def test_the_database_is_asked_once_in_a_while(rig: Rig, resumer: Resumer) -> None:
    """However often somebody scrapes, the figures are read once in some seconds."""
    before = await told(resumer)
    await rig.rows("insert into pauses (pause_id, state) values ('p', 'waiting')")
    async with http_to(resumer) as http:
        again = Told((await http.get("/metrics")).text)
    assert before("pauses", state="waiting") == again("pauses", state="waiting") == 0
    assert (await told(resumer))("pauses", state="waiting") == 1


async def test_without_the_database_the_counts_are_told(rig: Rig) -> None:
    """While it is away there are no figures, a sign of that, and a count of what was refused."""
    web = Resumer(
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        worker=False,
        metrics_public=True,
    )
    await rig.stack.enter_async_context(web.running())
    [pause_id] = await rig.hibernate(rig.agent(), "t1")
    assert web._running is not None
    await web._running.readiness.pool.close()
    proof = rig.looppause.decide(pause_id)
    assert (await rig.deliver(web, proof)).status_code == 503

    seen = await told(web)
    assert seen("database_up") == 0
    assert seen("deliveries_total", result="not_recorded") == 1
    assert "resumer_pauses{" not in seen.text


async def test_what_the_sweep_repairs_is_counted(sweeping: Sweeping) -> None:
    """A decision that was never delivered is a find; the next sweep finds nothing."""
    [pause_id] = await sweeping.rig.hibernate(sweeping.rig.agent(), "t1")
    sweeping.rig.looppause.decide(pause_id)
    await sweeping.sweep()
    await sweeping.sweep()
    metrics = sweeping.reconciler.intake.metrics
    seen = Told(metrics.exposition("")[0].decode())
    assert seen("reconcile_finds_total", kind="answered") == 1
    assert seen("reconcile_finds_total", kind="requeued") == 0


async def test_nobody_is_named(rig: Rig, resumer: Resumer) -> None:
    """Neither who decided nor what was asked, nor any id, is in the metrics."""
    [pause_id] = await rig.hibernate(rig.agent(), "thread-of-ada")
    await rig.deliver(resumer, rig.looppause.decide(pause_id, responder="ada@example.com"))
    await rig.until_state(pause_id, "resumed")
    text = (await told(resumer)).text
    for private in ("ada", "EUR", pause_id, rig.looppause.secret):
        assert private not in text


async def test_two_receivers_in_a_process_count_for_themselves(rig: Rig, resumer: Resumer) -> None:
    """What one counts, the other does not know."""
    other = await rig.receiver(metrics_public=True)
    await post(resumer, b"[]")
    assert (await told(resumer))("deliveries_total", result="malformed") == 1
    assert (await told(other))("deliveries_total", result="malformed") == 0


@pytest.mark.parametrize(
    "settings, token, status",
    [
        ({}, None, 404),
        ({"read_tokens": [READ]}, None, 401),
        ({"read_tokens": [READ]}, "somebody-elses-token", 401),
        ({"read_tokens": [READ]}, READ, 200),
        ({"act_tokens": [ACT]}, ACT, 200),
        ({"metrics_public": True}, None, 200),
        ({"metrics_public": True, "read_tokens": [READ]}, None, 200),
    ],
)
def test_who_may_see_them(settings: Mapping[str, Any], token: str | None, status: int) -> None:
    """Bearers of a token, or everybody if the settings say so; else nobody."""
    resumer = Resumer(
        database_url="postgresql://nowhere/x", signing_secrets=["s"], worker=False, **settings
    )
    reply = ask(resumer, {"Authorization": f"Bearer {token}"} if token else {})
    assert reply.status_code == status
    assert ("resumer_attempts_total" in reply.text) is (status == 200)


def ask(resumer: Resumer, headers: Mapping[str, str]) -> httpx.Response:
    async def get() -> httpx.Response:
        async with http_to(resumer) as http:
            return await http.get("/metrics", headers=headers)

    return asyncio.run(get())


@pytest.mark.parametrize(
    "accept, content_type",
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text; version=one", "text/plain; version=0.0.4; charset=utf-8"),
        ("image/png", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_any_accept_header_is_answered(accept: str, content_type: str) -> None:
    """In the form that was asked for, or in the usual one."""
    resumer = Resumer(
        database_url="postgresql://nowhere/x",
        signing_secrets=["s"],
        worker=False,
        metrics_public=True,
    )
    reply = ask(resumer, {"Accept": accept})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith(content_type)


async def test_a_worker_serves_its_own_on_a_port(rig: Rig, resumer: Resumer) -> None:
    """On an address that only this machine reaches no token is asked for."""
    async with resumer.scrape.served("127.0.0.1", 0) as address, httpx.AsyncClient() as http:
        reply = await http.get(f"{address}/metrics")
        assert (reply.status_code, (await http.get(f"{address}/pauses/p")).status_code) == (
            200,
            404,
        )
    assert Told(reply.text)("database_up") == 1


async def test_the_command_says_where_its_metrics_are(rig: Rig, tmp_path: Path) -> None:
    """`resumer worker --metrics-port` is a process of its own that Prometheus can ask."""
    (tmp_path / "agent.py").write_text(AGENT)
    env = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": rig.url,
        "RESUMER_GRAPHS": f"procurement={tmp_path / 'agent.py'}:graph",
        "LOOPPAUSE_SIGNING_SECRET": rig.looppause.secret,
    }
    arguments = ("-m", "resumer", "worker", "--metrics-port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"metrics_served" not in (line := await process.stderr.readline()):
                assert line, "it ended by itself"
            async with httpx.AsyncClient() as http:
                address = json.loads(line)["address"]
                # Served before the queue's worker has given its first sign of life.
                while (seen := Told((await http.get(address)).text))("workers_alive") != 1:
                    await asyncio.sleep(0.5)
    finally:
        process.terminate()
        await process.communicate()
    assert seen("database_up") == 1
    assert process.returncode == 0


AGENT = """
from langgraph.graph import END, START, StateGraph
builder = StateGraph(dict)
builder.add_node("nothing", lambda state: {})
builder.add_edge(START, "nothing")
builder.add_edge("nothing", END)
graph = builder.compile()
"""


async def test_without_a_port_nothing_is_served(resumer: Resumer) -> None:
    """The usual worker listens nowhere."""
    async with resumer.scrape.served("127.0.0.1", None) as address:
        assert address is None


@pytest.mark.parametrize("settings, status", [({"read_tokens": [READ]}, 401), ({}, None)])
async def test_others_are_let_in_as_the_settings_say(
    settings: Mapping[str, Any], status: int | None
) -> None:
    """An address that others reach asks for the token, and is refused where nobody has one."""
    resumer = Resumer(
        database_url="postgresql://nowhere/x", signing_secrets=["s"], worker=False, **settings
    )
    async with AsyncExitStack() as stack:
        opening = stack.enter_async_context(resumer.scrape.served("0.0.0.0", 0))  # noqa: S104
        if status is None:
            with pytest.raises(SettingsError, match="RESUMER_METRICS_PUBLIC"):
                await opening
            return
        address = await opening
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{address}/metrics")).status_code == status


COUNTING = """
import sys
from resumer.metrics import Metrics
one, same = Metrics.of_receiver(), Metrics.of_receiver()
one.delivered("accepted")
same.delivered("accepted")
same.began(0.02)
print(one.exposition("")[0].decode() if "tell" in sys.argv else "")
"""


def counting(folder: Path, *arguments: str) -> str:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_processes_that_share_a_folder_are_told_together(tmp_path: Path) -> None:
    """Whichever of them is asked, it tells what all of them have counted."""
    assert counting(tmp_path).strip() == ""
    seen = Told(counting(tmp_path, "tell"))
    assert seen("deliveries_total", result="accepted") == 4
    assert seen("attempts_total") == 2
    assert seen("wake_up_seconds_bucket", until="began", le="0.025") == 2


def test_a_shared_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    """Nothing would be counted there: the process says so at once."""
    assert "PROMETHEUS_MULTIPROC_DIR is no folder" in counting(tmp_path / "nothing")


async def test_every_part_reads_an_index(rig: Rig) -> None:
    """Among many pauses that have ended, none of the figures reads the table from end to end."""
    async with await connect(rig.url, schema="resumer") as connection:
        await fill(connection, 20_000)
        values = Gauges(None, 30.0)._values  # type: ignore[arg-type]  # only what it asks with
        query = "explain (analyze, costs off, timing off) " + statement("gauges")
        cursor = await connection.execute(query.encode(), values)
        plan = "\n".join(row["QUERY PLAN"] for row in await cursor.fetchall())
    assert "Seq Scan on pauses" not in plan, plan
