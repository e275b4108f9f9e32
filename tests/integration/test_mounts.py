"""Mounted in hosts of several kinds: links, state, metrics and settings stay where they belong."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import prometheus_client
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.routing import Mount

from looppause_sdk.testing import FakeLoopPause
from resumer import Resumer, lifespans
from tests import agents, dashboard, postgres
from tests.vectors import SECRET
from tests.vectors.signing import APPROVAL, python_signed

from .conftest import Rig

PROOF = python_signed(APPROVAL, SECRET)
WEBHOOK = "/webhooks/looppause"


def receiver(url: str, **settings: Any) -> Resumer:
    """A receiver that leaves resuming to others, and shows itself to who has a token."""
    given = {"signing_secrets": [SECRET], **dashboard.TOKENS, **settings}
    return Resumer(database_url=url, worker=False, **given)


@asynccontextmanager
async def serving(app: Any, root_path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """The application as a server runs it: within its lifespan, with the state that gives."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            yield client


async def test_in_fastapi_beside_a_lifespan_of_its_own(database_url: str) -> None:
    """The host's state, routes and OpenAPI are as without the receiver."""
    resumer = receiver(database_url)

    @asynccontextmanager
    async def own(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
        assert not resumer.is_running
        yield {"greeting": "hello"}
        assert not resumer.is_running

    app = FastAPI(lifespan=lifespans(own, resumer.lifespan))

    @app.get("/greet")
    async def greet(request: Request) -> str:
        return str(request.state.greeting)

    alone = app.openapi()
    app.openapi_schema = None
    app.mount("/looppause", resumer.app)
    async with serving(app) as client:
        assert (await client.get("/greet")).json() == "hello"
        assert (await client.get("/nothing")).json() == {"detail": "Not Found"}
        assert (await client.get("/openapi.json")).json() == alone
        assert (await client.post(f"/looppause{WEBHOOK}", json=PROOF)).status_code == 202
        assert (await client.get("/looppause/readyz")).status_code == 503  # no worker yet
    assert not resumer.is_running


@pytest.mark.parametrize(
    "root_path, mounts",
    [("", ["/looppause"]), ("/behind/proxy", ["/looppause"]), ("/p", ["/v1", "/ops/looppause"])],
)
async def test_links_lead_back_to_where_it_is_mounted(
    database_url: str, root_path: str, mounts: list[str]
) -> None:
    """On every page, in redirects, for the cookie and in the OpenAPI document."""
    resumer = receiver(database_url)
    app: Any = resumer.app
    for mount in reversed(mounts):
        app = Starlette(routes=[Mount(mount, app)])
    root = root_path + "".join(mounts)
    async with resumer.running(), dashboard.visiting(app, None, root=root_path) as visit:
        visit.root = root
        sent = await visit.get("/")
        assert sent.headers["location"].startswith(f"{root}/ui/login")
        signed_in = await visit.sign_in(dashboard.READ)
        assert signed_in.headers["location"] == f"{root}/"
        assert f"Path={root};" in signed_in.headers["set-cookie"] + ";"
        page = (await visit.get("/")).text
        links = set(re.findall(r'(?:href|src|action)="([^"#]*)"', page))
        assert f"{root}/ui/pauses" in links
        assert [link for link in links if not link.startswith(f"{root}/")] == []
        for link in sorted(links - {f"{root}/ui/logout"}):
            assert (await visit.http.get(link)).status_code == 200, link
        document = await visit.get("/api/openapi.json", Authorization=f"Bearer {dashboard.READ}")
        assert document.json()["servers"] == [{"url": root}]
        path = next(path for path in document.json()["paths"] if path.endswith("/overview"))
        asked = await visit.get(path, Authorization=f"Bearer {dashboard.READ}")
        assert asked.status_code == 200


async def test_two_of_them_count_and_let_in_each_for_itself(
    database_url: str, postgres_server: postgres.Server
) -> None:
    """Metrics, tokens and readiness are one receiver's own; the process's registry has none."""
    other_url = postgres_server.database()
    try:
        tokens = [{"read_tokens": [f"only-for-receiver-{n}"], "act_tokens": []} for n in "12"]
        one, two = receiver(database_url, **tokens[0]), receiver(other_url, **tokens[1])
        app = Starlette(
            routes=[Mount("/one", one.app), Mount("/two", two.app)],
            lifespan=lifespans(one.lifespan, two.lifespan),
        )
        async with serving(app) as client:
            await client.post(f"/one{WEBHOOK}", json=PROOF)
            counted = {}
            for name, number in (("one", "1"), ("two", "2")):
                bearer = {"Authorization": f"Bearer only-for-receiver-{number}"}
                text = (await client.get(f"/{name}/metrics", headers=bearer)).text
                counted[name] = re.findall(
                    r'resumer_deliveries_total\{result="accepted"\} (\S+)', text
                )
                stranger = "two" if name == "one" else "one"
                refused = await client.get(f"/{stranger}/metrics", headers=bearer)
                assert refused.status_code == 401
        assert counted == {"one": ["1.0"], "two": ["0.0"]}
        ours = [
            m.name for m in prometheus_client.REGISTRY.collect() if m.name.startswith("resumer")
        ]
        assert ours == []
    finally:
        postgres_server.drop(other_url)


async def test_one_that_is_not_started_says_so_once_in_the_log(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Senders try again for days: each is told, the log is not flooded. Stopped is not unstarted."""
    resumer = receiver(database_url)
    host = Starlette(routes=[Mount("/looppause", resumer.app)])
    async with serving(host) as client:
        for _ in range(3):
            reply = await client.post(f"/looppause{WEBHOOK}", json=PROOF)
            assert "mounted but not started" in reply.json()["error"]
        errors = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1
        async with resumer.running():
            assert (await client.post(f"/looppause{WEBHOOK}", json=PROOF)).status_code == 202
        stopped = await client.post(f"/looppause{WEBHOOK}", json=PROOF)
    assert stopped.status_code == 503
    assert stopped.json()["error"] == "the receiver has been stopped: deliver it again later"


async def test_a_host_without_a_worker_and_one_elsewhere(rig: Rig) -> None:
    """What a host with `worker=False` takes in, a worker of another process resumes."""
    [pause_id] = await rig.hibernate(rig.agent(), "t")
    host = Resumer(database_url=rig.url, signing_secrets=[rig.looppause.secret], worker=False)
    async with host.running():
        assert (
            await rig.deliver(host, rig.looppause.decide(pause_id, "approved"))
        ).status_code == 202
        await asyncio.sleep(0)
        assert rig.ledger.payments == []
        await rig.receiver()
        await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1


QUIET = """
import asyncio, logging, logging.config, os, signal, sys, threading
import structlog

logging.config.dictConfig({
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"own": {"format": "own %(name)s %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"level": "INFO", "handlers": ["own"]},
    "loggers": {"app": {"level": "DEBUG"}},
})
structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
structlog.contextvars.bind_contextvars(request="r-1")

def setup():
    root = logging.getLogger()
    return {
        "root": (root.level, root.handlers[:], root.filters[:]),
        "loggers": {
            name: (logger.level, logger.handlers[:], logger.propagate, logger.disabled)
            for name, logger in root.manager.loggerDict.items()
            if isinstance(logger, logging.Logger) and name in ("app", "uvicorn", "asyncio")
        },
        "disabled": root.manager.disable,
        "structlog": {k: str(v) for k, v in structlog.get_config().items()},
        "bound": structlog.contextvars.get_contextvars(),
        "signals": [signal.getsignal(n) for n in signal.valid_signals()],
        "policy": type(asyncio.get_event_loop_policy()),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "env": dict(os.environ),
        "folder": os.getcwd(),
    }

def changed(before, now):
    return {name: (before[name], now[name]) for name in now if now[name] != before[name]}

before = setup()
import resumer
assert not changed(before, setup()), changed(before, setup())

async def main():
    loop = asyncio.get_running_loop()

    def of_loop():
        return {
            "handler": loop.get_exception_handler(),
            "factory": loop.get_task_factory(),
            "debug": loop.get_debug(),
            "executor": type(loop._default_executor),
        }

    loop.run_in_executor(None, int)
    before = {**setup(), **of_loop()}
    receiver = resumer.Resumer({"*": "tests.unit.test_graphs:make_graph"},
        database_url=os.environ["URL"], signing_secrets=["secret"])
    async with receiver.running():
        now = {**setup(), **of_loop()}
        assert not changed(before, now), changed(before, now)
    left = [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]
    assert left == [], left

before = setup()
asyncio.run(main())
assert not changed(before, setup()), changed(before, setup())
print("untouched")
"""


def test_a_host_is_left_as_it_was(database_url: str) -> None:
    """Its logging, structlog, signals, loop, hooks, environment: by importing and by running."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(QUIET)],
        env={**os.environ, "URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "untouched", done.stderr
    assert "own resumer " in done.stderr  # what it says goes where the host wants it
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_agents_of_two_hosts_do_not_share_a_pause(rig: Rig) -> None:
    """A pause of one LoopPause account is nobody's in the other's receiver."""
    [pause_id] = await rig.hibernate(rig.agent(), "t")
    stranger = FakeLoopPause()
    theirs = Resumer(
        {"procurement": agents.payment_agent(agents.client_of(stranger), rig.ledger.pay)},
        database_url=rig.url,
        signing_secrets=[stranger.secret],
    )
    async with theirs.running():
        reply = await rig.deliver(theirs, rig.looppause.decide(pause_id, "approved"))
        assert reply.status_code == 401
    assert rig.ledger.payments == []
