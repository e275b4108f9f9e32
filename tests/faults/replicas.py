"""Web and worker replicas as real processes of this machine, each ended by whoever started it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

__all__ = ["Replica", "free_port"]

ROOT = Path(__file__).resolve().parents[2]
STARTED_SECONDS = 20.0
KILLED = -signal.SIGKILL

Kind = Literal["web", "worker"]


@dataclass
class Replica:
    """One `resumer web` or `resumer worker`; its database sessions carry its name."""

    kind: Kind
    name: str
    env: Mapping[str, str] = field(repr=False)
    log: Path
    port: int = 0
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id, also of a process that has ended."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs, or is stopped."""
        return self.process is not None and self.process.returncode is None

    @property
    def url(self) -> str:
        """Where a web replica takes deliveries."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the process and wait until it says that it has."""
        arguments = ["--port", str(self.port)] if self.kind == "web" else []
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "resumer", self.kind, *arguments,
                cwd=ROOT,
                env={**os.environ, **self.env, "PGAPPNAME": self.name},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(STARTED_SECONDS):
            while not await self._started(before):
                assert self.alive, f"{self.name} did not start:\n{self.tail()}"
                await asyncio.sleep(0.02)

    async def _started(self, before: int) -> bool:
        if self.kind == "worker":
            return b'"event": "started"' in self.log.read_bytes()[before:]
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{self.url}/healthz")).status_code == 200
            except httpx.HTTPError:
                return False

    async def kill(self) -> None:
        """kill -9, and see that it died of that."""
        self.signal(signal.SIGKILL)
        assert await self.wait() == KILLED, f"{self.name} ended by itself:\n{self.tail()}"

    async def terminate(self, *, within: float = 30.0) -> int:
        """SIGTERM; return the exit code of a process that leaves in time."""
        self.signal(signal.SIGTERM)
        return await self.wait(within=within)

    async def stall(self) -> None:
        """SIGSTOP, and see that it stands still."""
        self.signal(signal.SIGSTOP)
        async with asyncio.timeout(5):
            while self._state() != "T":
                await asyncio.sleep(0.01)

    def _state(self) -> str:
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]

    def go_on(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, which must be running."""
        assert self.process is not None, f"{self.name} was never started"
        assert self.alive, f"{self.name} has ended already:\n{self.tail()}"
        self.process.send_signal(number)

    async def wait(self, *, within: float = 30.0) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        assert self.process is not None, f"{self.name} was never started"
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def close(self) -> None:
        """End the process whatever state it is in."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def text(self) -> str:
        """All it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(line[:400] for line in self.text().splitlines()[-lines:])


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
