"""Programs beside a benchmark: started as a user starts them, awaited, looked at and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Footprint", "compiled_in", "footprint", "free_port", "program", "ready", "resumer"]

PATIENCE = 60.0  # seconds
LOOK_AGAIN = 0.002


@dataclass(frozen=True)
class Footprint:
    """What a process has of the machine: memory in KiB, threads of its own, open sockets."""

    kib: int
    threads: int
    sockets: int


def footprint(pid: int) -> Footprint:
    """Of this process now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    said = {name: value.split() for name, _, value in (line.partition(":") for line in status)}
    links = [_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    sockets = sum(link.startswith("socket:") for link in links)
    return Footprint(int(said["VmRSS"][0]), int(said["Threads"][0]), sockets)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # closed meanwhile


def compiled_in(folder: Path) -> dict[str, str]:
    """The environment with bytecode kept in `folder`: an installed package has its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**env, "PYTHONPYCACHEPREFIX": str(folder)}


def resumer(*arguments: str) -> list[str]:
    """The command of this environment."""
    return [str(Path(sys.executable).with_name("resumer")), *arguments]


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def program(
    command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run it beside the body; its last words are shown if it ended by itself."""
    # Not a pipe: nobody reads it, and who logs much would stop when it is full.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  (our own commands)
            command, env=dict(env), cwd=cwd, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            yield process
        finally:
            if process.poll() is not None:
                log.seek(0)
                sys.stderr.write(f"{command} ended: {log.read()[-2000:].decode()}")
            process.terminate()
            process.wait()


def ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the address answers 200."""
    start = time.perf_counter()
    while not _answers(url):
        assert process.poll() is None, "it ended by itself"
        assert time.perf_counter() - start < PATIENCE, f"no answer at {url}"
        time.sleep(LOOK_AGAIN)


def _answers(url: str) -> bool:
    """With as little Python as will do: the program that starts needs the processor."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((host, port), timeout=PATIENCE) as connection:
            connection.sendall(request.encode())
            return b" 200 " in connection.recv(64)
    except (ConnectionError, TimeoutError):
        return False
