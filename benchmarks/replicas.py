"""`resumer web` and `resumer worker` as processes of their own, for the graphs in `asking`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.asking import GRAPHS, SECRET
from benchmarks.programs import resumer

__all__ = ["PATIENCE", "replica"]

PATIENCE = 120.0


@asynccontextmanager
async def replica(
    url: str, log: Path, port: int | None = None, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker, or a web process on this port, that has started. It writes to `log`."""
    command = ["worker"] if port is None else ["web", "--port", str(port)]
    env = {
        **os.environ,
        "RESUMER_DATABASE_URL": url,
        "RESUMER_GRAPHS": ",".join(f"{name}=benchmarks.asking:{name}" for name in GRAPHS),
        "LOOPPAUSE_SIGNING_SECRET": SECRET,
        "RESUMER_RECONCILE_SECONDS": "0",
        "PGAPPNAME": log.stem,
        **settings,
    }
    with log.open("w") as file:
        process = await asyncio.create_subprocess_exec(
            *resumer(*command), env=env, cwd=Path(__file__).parents[1], stdout=file, stderr=file
        )
    try:
        await _started(process, log, '"listening"' if port else '"started"')
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _started(process: asyncio.subprocess.Process, log: Path, said: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while said not in (text := _text(log)):
            assert process.returncode is None, text[-2000:]
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)  # until its queue asks for jobs


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8")
