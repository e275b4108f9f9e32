"""Real PgBouncers before a test's database, one in each mode."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

__all__ = ["bouncers"]


@asynccontextmanager
async def bouncers(database_url: str, folder: Path) -> AsyncIterator[dict[str, str]]:
    """The URLs of the database through PgBouncer, by pool mode."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_over_tcp(database_url))
        yield {
            mode: await stack.enter_async_context(_bouncer(database_url, server, folder, mode))
            for mode in ("transaction", "session")
        }


@asynccontextmanager
async def _over_tcp(url: str) -> AsyncIterator[int]:
    """The server's Unix socket on a TCP port: PgBouncer refuses root, others may not enter here."""
    path = f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432"
    port = _free_port()
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"
    process = subprocess.Popen([_program("socat"), listen, f"UNIX-CONNECT:{path}"])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert path, f"this test needs {name}: apt-get install {name}"
    return path


@asynccontextmanager
async def _bouncer(url: str, server: int, folder: Path, mode: str) -> AsyncIterator[str]:
    port = _free_port()
    config = folder / f"{mode}.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\n"
    )
    unprivileged = ["-u", "nobody"] if os.geteuid() == 0 else []
    with config.open() as text:  # read before it gives up root
        process = subprocess.Popen(
            [_program("pgbouncer"), "-q", *unprivileged, f"/dev/fd/{text.fileno()}"],
            pass_fds=[text.fileno()],
        )
    try:
        address = f"postgresql://postgres@127.0.0.1:{port}{urlsplit(url).path}"
        await _answering(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(10)


async def _answering(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert process.poll() is None, "PgBouncer ended"
        try:
            connection = await psycopg.AsyncConnection.connect(url, connect_timeout=2)
        except psycopg.OperationalError:
            await asyncio.sleep(0.05)
        else:
            await connection.close()
            return
    raise AssertionError("PgBouncer did not start")
