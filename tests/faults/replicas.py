"""Web and worker replicas as real processes of this machine, each ended by whoever started it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from .nursery import Process, Spawn

__all__ = ["Replica", "free_port", "until"]

STARTED_SECONDS = 40.0
KILLED = -signal.SIGKILL

Kind = Literal["web", "worker"]


@dataclass
class Replica:
    """One `resumer web` or `resumer worker`; its database sessions carry its name."""

    kind: Kind
    name: str
    env: Mapping[str, str] = field(repr=False)
    log: Path
    spawn: Spawn
    port: int = 0
    process: Process | None = None

    @property
    def pid(self) -> int:
        """The process id, also of a process that has ended."""
        return self._process().pid

    @property
    def alive(self) -> bool:
        """Whether the process runs, or is stopped."""
        return self.process is not None and self.process.poll() is None

    @property
    def url(self) -> str:
        """Where a web replica takes deliveries."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the process (again) and wait until it says that it has."""
        arguments = ["web", "--port", str(self.port)] if self.kind == "web" else ["worker"]
        before = len(self.text())
        self.process = self.spawn(arguments, {**self.env, "PGAPPNAME": self.name}, self.log)
        async with asyncio.timeout(STARTED_SECONDS):
            while not await self._started(before):
                assert self.alive, f"{self.name} did not start:\n{self.tail()}"
                await asyncio.sleep(0.02)

    async def _started(self, before: int) -> bool:
        if self.kind == "worker":
            return '"event": "started"' in self.text()[before:]
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
        await until(lambda: self._state() == "T", within=5)

    def _state(self) -> str:
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]

    def go_on(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, which must be running."""
        assert self.alive, f"{self.name} has ended already:\n{self.tail()}"
        self._process().send_signal(number)

    async def wait(self, *, within: float = 30.0) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        process = self._process()
        await until(lambda: process.poll() is not None, within=within)
        code = process.poll()
        assert code is not None
        return code

    async def close(self) -> None:
        """End the process whatever state it is in."""
        if self.alive:
            self.signal(signal.SIGKILL)
            await self.wait()

    def _process(self) -> Process:
        assert self.process is not None, f"{self.name} was never started"
        return self.process

    def text(self) -> str:
        """All it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(line[:500] for line in self.text().splitlines()[-lines:])


async def until(true: Callable[[], bool], *, within: float) -> None:
    """Wait for something that only looking tells. Raises `TimeoutError`."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.02)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
