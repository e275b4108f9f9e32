"""The parts that a deployment has: processes, a receiver, and certificates."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from looppause_sdk.testing import FakeLoopPause
from tests import postgres

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOKEN = "reader-of-answers"


def program(name: str) -> str:
    """The path of a program of the system, or of this environment."""
    folders = [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
    path = shutil.which(name, path=":".join(folders))
    assert path, f"this test needs {name}: .ci/run installs it"
    return path


def check(*command: str | Path, **environment: str) -> str:
    """Run a command to its end and return what it printed; a failure shows all of it."""
    done = subprocess.run(
        [program(str(command[0])), *map(str, command[1:])],
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], T], told: Callable[[], str], *, seconds: float = 30.0) -> T:
    """Wait until `condition` is true and return what it returned; else fail with what is told."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"not in time:\n{told()}"
        time.sleep(0.05)
    return result


@dataclass
class Process:
    """A process of its own, and what it wrote so far."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """Both of its outputs."""
        return self.log.read_text(errors="replace")

    def until(self, condition: Callable[[], T]) -> T:
        """Wait until `condition` is true; fail if the process ends before."""

        def still() -> T:
            assert self.popen.poll() is None, f"it ended by itself:\n{self.said}"
            return condition()

        return until(still, lambda: self.said)


@contextmanager
def running(
    folder: Path, *command: str | Path, env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a command in `folder` beside the body; what it writes is in a file there."""
    log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Process(popen, log)
    finally:
        popen.terminate()
        try:
            popen.wait(30)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def answers(url: str, status: int = 200) -> bool:
    """Whether an address answers so."""
    try:
        return httpx.get(url, trust_env=False).status_code == status
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Receiver:
    """A `resumer web` of its own, and who signs for it."""

    port: int
    database_url: str
    looppause: FakeLoopPause


@pytest.fixture(scope="session")
def receiver(
    postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Receiver]:
    """One for all, with its own database."""
    looppause, port = FakeLoopPause(scheme="ed25519"), free_port()
    url = postgres_server.database()
    env = {
        "RESUMER_DATABASE_URL": url,
        "LOOPPAUSE_PUBLIC_KEYS": f'["{looppause.public_key}"]',
        "RESUMER_READ_TOKENS": f'["{TOKEN}"]',
        "RESUMER_DRAIN_SECONDS": "2",
    }
    command = (program("resumer"), "web", "--port", str(port))
    with running(tmp_path_factory.mktemp("web"), *command, env=env) as web:
        web.until(lambda: answers(f"http://127.0.0.1:{port}/readyz/receive"))
        yield Receiver(port, url, looppause)
    postgres_server.drop(url)
