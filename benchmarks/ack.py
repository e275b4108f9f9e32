"""What it costs that an ack is only given for what is on disk.

    python3 -m uv run benchmarks/ack.py --seconds 5 --rounds 5

One `resumer web` process over a PostgreSQL of its own takes signed proofs over 32 connections, and
beside it, in turns, the same program without recording: it verifies, and answers. Prints proofs a
second and the ratio, and writes `ack.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.load import Load, post, request
from benchmarks.report import report
from looppause_sdk.proof import Proof
from looppause_sdk.testing import FakeLoopPause
from resumer.app import Resumer
from resumer.embedded import embedded_postgres
from resumer.intake import Intake
from resumer.keys import Keys
from resumer.metrics import Metrics
from resumer.migrate import migrate
from resumer.model import Receipt
from resumer.pauses import Pauses
from resumer.processes import settle_memory
from resumer.receive import receive
from resumer.serving import serving
from resumer.telemetry import log_to
from resumer.tracing import tracing_with

SECRET = "whsec_for_the_benchmark_and_nothing_else"  # noqa: S105  (of no use elsewhere)
CONNECTIONS = 32


class Forgetful(Pauses):
    """The baseline: what was verified is answered and forgotten."""

    async def record(self, proof: Proof, *_: Any, **__: Any) -> Receipt:
        """Nothing."""
        return Receipt(proof.pause_id, "accepted")


async def main(options: argparse.Namespace) -> None:
    """Both servers at once, loaded in turns: what slows the machine down slows both."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder)) as database,
    ):
        await migrate(database, database)
        async with _server(database, "durable") as durable, _server(database, "forgetful") as plain:
            servers = {"durable": durable, "forgetful": plain}
            proofs = _proofs()
            loads: dict[str, list[Load]] = {name: [] for name in servers}
            for _ in range(options.rounds):
                for name, url in servers.items():
                    wanted = _requests(url, proofs)
                    loads[name].append(
                        await post(url, wanted, connections=CONNECTIONS, seconds=options.seconds)
                    )
    report("ack", _result(loads))


def _result(loads: dict[str, list[Load]]) -> dict[str, Any]:
    result: dict[str, Any] = {"connections": CONNECTIONS, "rounds": len(loads["durable"])}
    for name, rounds in loads.items():
        statuses = sum((load.statuses for load in rounds), start=type(rounds[0].statuses)())
        result[name] = {
            "proofs_per_second": round(statistics.median(load.rate for load in rounds)),
            "p50_ms": round(statistics.median(load.percentile(0.5) for load in rounds), 2),
            "p99_ms": round(statistics.median(load.percentile(0.99) for load in rounds), 2),
            "statuses": dict(statuses),
        }
    pairs = zip(loads["durable"], loads["forgetful"], strict=True)
    result["ratio"] = round(statistics.median(ours.rate / base.rate for ours, base in pairs), 3)
    result["p99_ratio"] = round(result["durable"]["p99_ms"] / result["forgetful"]["p99_ms"], 2)
    return result


def _proofs() -> Iterator[bytes]:
    """Genuine approvals, each of a pause of its own."""
    fake = FakeLoopPause(secret=SECRET)
    for number in itertools.count():
        payload = {
            "pause_id": f"pause_{number:020d}",
            "decision": "approved",
            "authorization_type": "human",
            "channel": "slack",
            "responder": "alice@acme.example",
            "responded_at": "2026-11-22T12:00:00Z",
            "comment": "within the budget",
        }
        yield json.dumps(fake.sign(payload)).encode()


def _requests(url: str, proofs: Iterator[bytes]) -> Iterator[bytes]:
    for proof in proofs:
        yield request(f"{url}/webhooks/looppause", proof)


@asynccontextmanager
async def _server(database: str, kind: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", kind,
        env={**os.environ, "RESUMER_DATABASE_URL": database, "LOOPPAUSE_SIGNING_SECRET": SECRET},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        yield url
    finally:
        process.terminate()
        await process.wait()


async def serve(kind: str) -> None:
    """What `resumer web` does, with or without recording."""
    log_to()
    resumer = Resumer.from_env(worker=False)
    async with resumer.running():
        app = resumer.app if kind == "durable" else _forgetful(resumer.keys)
        async with serving(app) as url:
            settle_memory()
            print(url, flush=True)
            await asyncio.Event().wait()


def _forgetful(keys: Keys) -> Starlette:
    nowhere: Any = None
    intake = Intake(
        Forgetful(nowhere),
        keys.signing_secrets,
        metrics=Metrics.of_receiver(),
        tracing=tracing_with(),
    )

    async def handler(request: Request) -> Response:
        return await receive(request, intake, max_bytes=1 << 20)

    return Starlette(routes=[Route("/webhooks/looppause", handler, methods=["POST"])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(serve(given.serve) if given.serve else main(given))
