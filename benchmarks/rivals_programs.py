"""Programs of `rivals.py`, some in environments of their own, that keep a log."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

__all__ = ["PATIENCE", "Process", "answering", "environment", "program"]

PATIENCE = 120.0  # seconds
Process = asyncio.subprocess.Process


def environment(folder: Path, *packages: str) -> Path:
    """An environment with these packages, apart from this one and its pins."""
    for command in (
        ("venv", "--python", sys.executable, str(folder)),
        ("pip", "install", "--python", str(folder / "bin/python"), *packages),
    ):
        uv = (sys.executable, "-m", "uv", *command, "--no-config", "--quiet")
        subprocess.run(uv, check=True)  # noqa: S603  (our own command)
    return folder


@asynccontextmanager
async def program(
    folder: Path,
    name: str,
    command: Sequence[str],
    env: dict[str, str],
    cwd: Path | None = None,
) -> AsyncIterator[Process]:
    """Run it beside the body; what it says on stderr goes into a file."""
    pipe = asyncio.subprocess.PIPE
    told = name.startswith("dbos")
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **env}, cwd=cwd, stdin=pipe if told else None,
            stdout=pipe if told else log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    except BaseException:
        sys.stderr.write((folder / f"{name}.log").read_text()[-3000:])
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answering(process: Process, url: str) -> None:
    """Return when it does."""
    until = time.monotonic() + PATIENCE
    async with httpx.AsyncClient() as client:
        while time.monotonic() < until and process.returncode is None:
            try:
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise SystemExit(f"no answer at {url}")
