"""A real LangGraph server, `langgraph dev`, in an environment and a process of its own."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

__all__ = ["KEY", "AgentServer", "Thread", "environment"]

ROOT = Path(__file__).resolve().parents[2]
AGENT = Path(__file__).parent / "agent"
REQUIREMENTS = AGENT / "requirements.txt"
KEY = "the-key-of-the-server"
GRAPHS = {
    "refunds": f"{ROOT}/examples/remote_agent/agent.py:graph",
    **{name: f"{AGENT}/graphs.py:{name}" for name in ("paying", "beside", "both")},
}


def environment(cache: Path) -> Path:
    """An environment with the server in it, made once; return its folder."""
    of = REQUIREMENTS.read_bytes() + sys.version.encode()
    folder = cache / f"langgraph-{hashlib.sha256(of).hexdigest()[:16]}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--python", sys.executable, folder)
            _uv("pip", "install", "--python", folder / "bin/python", "-r", REQUIREMENTS)
            (folder / "made").touch()
    return folder


def _uv(*command: Any) -> None:
    beside = str(Path(sys.executable).parent)
    uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=beside)
    if uv is None:
        pytest.fail("no uv: run `python3 -m uv run --all-groups pytest`")
    # The pins of pyproject.toml are for another environment.
    ran = subprocess.run(
        [uv, *map(str, command), "--no-config", "--quiet"],
        check=False,
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        pytest.fail(f"the LangGraph server cannot be installed:\n{ran.stderr}")


@dataclass
class AgentServer:
    """The server, which can be stopped and started again with all that it knows.

    `world` is the folder of what its graphs do, `looppause` where their gates ask.
    """

    home: Path
    world: Path
    looppause: Mapping[str, str]
    environment: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """LangGraph's own client, as an agent's frontend has it."""
        return get_client(url=self.url, api_key=KEY)

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        self.port = self.port or _free_port()
        self._configure()
        command = [
            str(self.environment / "bin/langgraph"),
            *("dev", "--no-browser", "--no-reload", "--n-jobs-per-worker", "10"),
            *("--port", str(self.port)),
        ]
        settings = {
            "PATH": f"{self.environment / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "PYTHONPATH": f"{ROOT / 'sdk'}:{AGENT}",
            "WORLD": str(self.world),
            "LANGSMITH_TRACING": "false",
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            **self.looppause,
        }
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.home, env=settings, stdout=log, stderr=log
            )
        self._until_it_answers()

    def stop(self) -> None:
        """Ask it to stop, and wait: it keeps its threads in files."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def _configure(self) -> None:
        settings = {
            "dependencies": ["."],
            "graphs": GRAPHS,
            "auth": {"path": f"{AGENT}/auth.py:auth"},
            "http": {"app": f"{AGENT}/crowd.py:app"},
        }
        (self.home / "langgraph.json").write_text(json.dumps(settings), encoding="utf-8")

    def _until_it_answers(self) -> None:
        until = time.monotonic() + 50
        while time.monotonic() < until:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/ok", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail(f"langgraph dev does not start:\n{(self.home / 'log').read_text()[-3000:]}")

    # -- what its graphs do ------------------------------------------------------------------

    def lines(self, name: str) -> list[str]:
        """The lines that its graphs have noted in this file of their world."""
        file = self.world / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def hold(self, name: str) -> None:
        """Have whatever is held by this name wait."""
        (self.world / name).touch()

    def release(self, name: str) -> None:
        """Let it go on."""
        (self.world / name).unlink(missing_ok=True)


@dataclass
class Thread:
    """One thread on the server."""

    client: Any
    graph: str
    thread_id: str = ""

    async def start(self, **state: Any) -> str:
        """Start a run, and do not wait for it; return its id."""
        if not self.thread_id:
            self.thread_id = (await self.client.threads.create())["thread_id"]
        run = await self.client.runs.create(self.thread_id, self.graph, input=state)
        return str(run["run_id"])

    async def ask(self, **state: Any) -> list[str]:
        """Run to the gates; return the pauses it hibernates at."""
        run_id = await self.start(**state)
        await self.client.runs.join(self.thread_id, run_id)
        return await self.pauses()

    async def pauses(self) -> list[str]:
        state = await self.client.threads.get_state(self.thread_id)
        return [each["value"]["pause_id"] for each in state["interrupts"]]

    async def status(self) -> str:
        return str((await self.client.threads.get(self.thread_id))["status"])

    async def values(self) -> dict[str, Any]:
        return dict((await self.client.threads.get_state(self.thread_id))["values"])

    async def runs(self) -> list[dict[str, Any]]:
        return list(await self.client.runs.list(self.thread_id, limit=100))

    async def until_status(self, *wanted: str) -> None:
        until = time.monotonic() + 30
        while (status := await self.status()) not in wanted:
            assert time.monotonic() < until, f"the thread stays {status}"
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
