"""The example that mounts the receiver, under the servers that people run: real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from resumer.serving import serving

EXAMPLES = Path(__file__).parents[2] / "examples"
PREFIX = "/svc"  # under which a proxy publishes the service
READER = {"Authorization": "Bearer a-reader-of-sixteen"}

# How to start each, and what the proxy before it leaves of the prefix.
SERVERS: dict[str, tuple[list[str], str]] = {
    "uvicorn": (["--port", "{}", "--root-path", PREFIX], ""),
    "hypercorn": (["--bind", "127.0.0.1:{}", "--root-path", PREFIX], PREFIX),
    "granian": (["--interface", "asgi", "--port", "{}", "--url-path-prefix", PREFIX], PREFIX),
}


@dataclass
class Service:
    """One running server, and what it printed when it is over."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient
    log: Path

    async def until(self, path: str, is_there: Callable[[httpx.Response], bool]) -> httpx.Response:
        """Ask until the answer is as it should be; fail with what the process printed."""
        reply: httpx.Response | None = None
        end = time.monotonic() + 40
        while self.process.returncode is None and time.monotonic() < end:
            try:
                reply = await self.http.get(path, headers=READER)
            except httpx.TransportError:
                reply = None
            if reply is not None and is_there(reply):
                return reply
            await asyncio.sleep(0.05)
        raise AssertionError((reply and (reply.status_code, reply.text), self.log.read_text()))


@asynccontextmanager
async def running(server: str, env: dict[str, str], log: Path) -> AsyncIterator[Service]:
    """The example under this server, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options, left = SERVERS[server]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            server,
            "mounted_fastapi:app",
            *(option.format(port) for option in options),
            cwd=EXAMPLES,
            env={**os.environ, **env},
            stdout=output,
            stderr=output,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{left}") as http:
            yield Service(process, http, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def workers(url: str) -> int:
    """How many workers have signed in and not out."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from resumer.procrastinate_workers").fetchone()
    return row[0] if row else 0


@pytest.mark.parametrize("server", SERVERS)
async def test_the_mounted_example(
    server: str, database_url: str, looppause: FakeLoopPause, tmp_path: Path
) -> None:
    """It asks, is answered at its webhook, pays once, shows right links, and ends on SIGTERM."""
    async with serving(Emulator(looppause, deliver=False).app, lifespan="on") as address:
        env = {
            "PYTHONPATH": str(EXAMPLES),
            "RESUMER_DATABASE_URL": database_url,
            "RESUMER_READ_TOKENS": '["a-reader-of-sixteen"]',
            "LOOPPAUSE_API_URL": address,
            "LOOPPAUSE_API_KEY": "key",
            "LOOPPAUSE_SIGNING_SECRET": looppause.secret,
        }
        async with running(server, env, tmp_path / "log") as service:
            await service.until("/looppause/readyz", lambda reply: reply.status_code == 200)
            await pays(service, looppause)
            page = await service.http.get("/looppause/ui/login")
            assert f'action="{PREFIX}/looppause/ui/login' in page.text
            document = (
                await service.http.get("/looppause/api/openapi.json", headers=READER)
            ).json()
            assert document["servers"] == [{"url": f"{PREFIX}/looppause"}]
            assert workers(database_url) > 0
            service.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(service.process.wait(), 30)
            output = service.log.read_text()
    assert service.process.returncode in (0, -signal.SIGTERM), output
    assert workers(database_url) == 0, output  # each has signed out: it was let end in order
    assert "Traceback" not in output


async def pays(service: Service, looppause: FakeLoopPause) -> None:
    """A thread hibernates, its proof arrives, and the payment is made."""
    submitted = await service.http.post("/invoices", json={"supplier": "ACME", "amount": 5})
    assert submitted.status_code == 202, submitted.text
    path = f"/invoices/{submitted.json()['thread_id']}"
    assert (await service.http.get(path)).json() == {"waits": True, "result": None}
    [document] = looppause.documents()
    proof: Any = looppause.decide(document["pause_id"], "approved", responder="ada")
    reply = await service.http.post("/looppause/webhooks/looppause", json=proof)
    assert reply.status_code == 202
    seen = await service.until(path, lambda reply: reply.json()["result"] is not None)
    assert seen.json() == {"waits": False, "result": "PAID 5 EUR, approved by ada"}
