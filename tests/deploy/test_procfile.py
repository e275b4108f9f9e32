"""The Procfile as a process manager runs it, and the health checks beside it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from looppause_sdk.testing import FakeLoopPause
from tests import agents, postgres
from tests.deploy.conftest import DEPLOY, ROOT, answers, free_port, program, running

pytestmark = pytest.mark.deploy

AGENT = """
from looppause_sdk import LoopPauseClient
from tests.agents import payment_agent
graph = payment_agent(LoopPauseClient(), lambda state: {"done": ["paid"]})
"""
# honcho, which gives its processes five seconds to end: a busy machine may need more.
HONCHO = (
    "import sys, honcho.manager; honcho.manager.KILL_WAIT = 60;"
    "from honcho.command import main; sys.exit(main())"
)


@pytest.fixture
def empty_database(postgres_server: postgres.Server) -> Iterator[str]:
    """A database that nobody has set up."""
    url = postgres_server.database("template1")
    yield url
    postgres_server.drop(url)


@pytest.fixture
def env(empty_database: str, looppause: FakeLoopPause, tmp_path: Path) -> dict[str, str]:
    """What the host sets."""
    (tmp_path / "agent.py").write_text(AGENT)
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": empty_database,
        "RESUMER_GRAPHS": f"procurement={tmp_path / 'agent.py'}:graph",
        "RESUMER_DRAIN_SECONDS": "10",
        "LOOPPAUSE_API_KEY": "key",
        "LOOPPAUSE_API_URL": "http://127.0.0.1:1",
        "LOOPPAUSE_SIGNING_SECRET": looppause.secret,
    }


def honcho(*arguments: str) -> tuple[str, ...]:
    """The command that starts processes of our Procfile."""
    return (sys.executable, "-c", HONCHO, "-f", str(ROOT / "Procfile"), "start", *arguments)


@pytest.mark.timeout(180)
def test_release_web_and_worker(
    env: dict[str, str], empty_database: str, looppause: FakeLoopPause, tmp_path: Path
) -> None:
    """From an empty database to a thread that a decision has resumed, and a clean end."""
    released = subprocess.run(
        honcho("release"), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert released.returncode == 0, released.stdout + released.stderr
    assert "migrated" in released.stdout

    pause_id = asyncio.run(_hibernate(empty_database, looppause))
    port = free_port()
    with running(tmp_path, *honcho("-p", str(port), "web", "worker"), env=env) as manager:
        url = f"http://127.0.0.1:{port}"
        manager.until(lambda: answers(f"{url}/readyz"))
        proof = looppause.decide(pause_id)
        reply = httpx.post(f"{url}/webhooks/looppause", json=proof, trust_env=False)
        assert reply.status_code == 202
        manager.until(lambda: _events(manager.said, "worker")[-1] == "resumed")
        manager.popen.send_signal(signal.SIGTERM)
        manager.popen.wait(60)
    # Its exit code is lost on the shell that the manager puts before each; that nothing was raised,
    # and that nobody had to be killed, is not.
    for name in ("web", "worker"):
        assert _events(manager.said, name)[-1] == "stopping", manager.said
        assert re.search(rf"system .* {name}\.1 stopped", manager.said), manager.said
    assert "Traceback" not in manager.said
    assert "SIGKILL" not in manager.said
    assert asyncio.run(_done(empty_database, looppause)) == ["paid"]


def _events(said: str, name: str) -> list[str]:
    """What a process of that name has logged, after something that is never logged."""
    return ["", *re.findall(rf' {name}\.1 .*"event": "(\w+)"', said)]


async def _hibernate(url: str, looppause: FakeLoopPause) -> str:
    graph = agents.payment_agent(agents.client_of(looppause), agents.Ledger().pay)
    async with agents.hibernating(graph, url) as attached:
        await attached.ainvoke({"amount": 12}, agents.on("thread"))
        state = await attached.aget_state(agents.on("thread"))
    pause_id: str = state.interrupts[0].value["pause_id"]
    return pause_id


async def _done(url: str, looppause: FakeLoopPause) -> Any:
    graph = agents.payment_agent(agents.client_of(looppause), agents.Ledger().pay)
    async with agents.hibernating(graph, url) as attached:
        return (await attached.aget_state(agents.on("thread"))).values["done"]


# -- health checks ------------------------------------------------------------------------------


@pytest.fixture
def probe(tmp_path: Path) -> Callable[[str], tuple[int, str]]:
    """Run the image's health check; its exit code, and what it wrote."""

    def run(url: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(DEPLOY / "healthy.py"), url],
            cwd=tmp_path,
            env={"http_proxy": "http://127.0.0.1:1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    return run


@pytest.mark.timeout(120)
def test_the_health_check_of_a_worker(
    env: dict[str, str], database_url: str, tmp_path: Path, probe: Callable[[str], tuple[int, str]]
) -> None:
    """As the image and compose.yaml have it: well once it works, else with the reason."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert probe(f"{url}/readyz")[0] == 1
    command = (program("resumer"), "worker", "--metrics-port", str(port))
    with running(tmp_path, *command, env={**env, "DATABASE_URL": database_url}) as worker:
        worker.until(lambda: answers(f"{url}/readyz"))
        assert probe(f"{url}/healthz") == (0, "")
        assert probe(f"{url}/readyz") == (0, "")
        assert probe(f"{url}/nothing") == (1, "404: Not Found\n")


def test_the_health_check_says_why_not(
    receiver: Any, probe: Callable[[str], tuple[int, str]]
) -> None:
    """What a container's inspection shows is what is missing."""
    code, said = probe(f"http://127.0.0.1:{receiver.port}/readyz")
    assert code == 1
    assert json.loads(said.removeprefix("503: ")) == {
        "error": "no worker is running: start `resumer worker`"
    }
