"""Flows over real processes: an agent that ends, receivers that are killed, answers in threes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from looppause_sdk import LoopPauseClient
from tests import postgres
from tests.refunds import kickoff, refunding

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"LOOPPAUSE_API_KEY": "example-key", "LOOPPAUSE_SIGNING_SECRET": "example-secret"}
SECONDS = 60.0
FLOWS = "refunds=examples/flow_refund.py:RefundFlow,attacked=tests.refund_worker:RefundFlow"

LEDGER = """
create table ledger (
    id bigint generated always as identity primary key,
    name text, pause_id text, pid integer, ended boolean not null default false
);
create table held (pause_id text primary key);
"""

pytestmark = [pytest.mark.timeout(180), pytest.mark.faults]


@dataclass
class Process:
    """One process of ours, and what it has said."""

    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class World:
    """A database, a LoopPause and two receivers."""

    url: str
    env: dict[str, str]
    looppause: str
    receivers: list[Process]

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def client(self) -> LoopPauseClient:
        return LoopPauseClient(base_url=self.looppause, env=KEYS)

    def decide(self, pause_id: str, decision: str, **answer: Any) -> None:
        bearer = {"Authorization": f"Bearer {KEYS['LOOPPAUSE_API_KEY']}"}
        address = f"{self.looppause}/v1/pauses/{pause_id}/decision"
        httpx.post(
            address, json={"decision": decision, **answer}, headers=bearer
        ).raise_for_status()

    def until_resumed(self, pause_id: str) -> None:
        query = "select 1 from resumer.pauses where pause_id = %s and state = 'resumed'"
        until(lambda: self.rows(query, pause_id), self.receivers)


def until(true: Callable[[], Any], watched: list[Process]) -> Any:
    """Wait for it; fail with what the processes have said."""
    end = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < end, "\n".join(process.said()[-3000:] for process in watched)
        time.sleep(0.05)
    return found


def start(stack: ExitStack, log: Path, env: dict[str, str], *command: str) -> Process:
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    stack.callback(popen.wait)
    stack.callback(popen.kill)
    return Process(popen, log)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_ready(process: Process) -> bool:
    try:
        return httpx.get(f"{process.url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def world(
    postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder, url = tmp_path_factory.mktemp("world"), postgres_server.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LEDGER.encode())
    emulator_port, ports = free_port(), [free_port(), free_port()]
    looppause = f"http://127.0.0.1:{emulator_port}"
    env = {
        **KEYS,
        "LOOPPAUSE_API_URL": looppause,
        "LOOPPAUSE_WEBHOOK_URL": f"http://127.0.0.1:{ports[0]}/webhooks/looppause",
        "RESUMER_DATABASE_URL": url,
        "RESUMER_FLOWS": FLOWS,
        "RESUMER_STALL_SECONDS": "3",
        "RESUMER_DRAIN_SECONDS": "3",
    }
    with ExitStack() as stack:
        command = ("-m", "resumer", "emulator", "--port", str(emulator_port))
        start(stack, folder / "emulator", env, *command)
        receivers: list[Process] = []
        for port in ports:
            serve = ["-m", "resumer", "serve", "--port", str(port)]
            if receivers:  # the other one has them from its environment
                serve += [f"--flow={flow}" for flow in env.pop("RESUMER_FLOWS").split(",")]
            process = start(stack, folder / f"receiver-{port}", env, *serve)
            process.url = f"http://127.0.0.1:{port}"
            receivers.append(process)
        until(lambda: all(map(is_ready, receivers)), receivers)
        yield World(url, env, looppause, receivers)
    postgres_server.drop(url)


def test_the_example_ends_and_the_receiver_finishes_its_flow(world: World, tmp_path: Path) -> None:
    """One refund approved, one rejected, by webhook; the program that asked is long gone."""
    with ExitStack() as stack:
        example = start(
            stack, tmp_path / "example", world.env, "examples/flow_refund.py", "120", "121"
        )
        assert example.popen.wait(SECONDS) == 0, example.said()
    pauses = re.findall(r"Hibernating until somebody answers (\S+)", example.said())
    approved, rejected = pauses

    world.decide(approved, "approved", responder="ada")
    world.decide(rejected, "rejected", comment="paid already")
    for pause_id in pauses:
        world.until_resumed(pause_id)

    said = "".join(process.said() for process in world.receivers)
    paid = f"PAID 120 EUR to Beta Ltd, approved by ada, idempotency key {approved}"
    assert said.count(paid) == 1
    assert said.count("NOT PAID, rejected: paid already") == 1
    assert "PAID 121" not in said


def _hibernating(world: World) -> tuple[str, bytes]:
    """A new flow, and the person's approval of it, signed and not delivered."""
    flow_class = refunding(world.client(), lambda *_: "", agent_id="attacked", webhook_url="")
    pause_id = asyncio.run(kickoff(flow_class, world.url))
    world.decide(pause_id, "approved")
    return pause_id, world.client().get_pause_body(pause_id)


def _deliver(process: Process, proof: bytes) -> int:
    headers = {"Content-Type": "application/json"}
    address = f"{process.url}/webhooks/looppause"
    return httpx.post(address, content=proof, headers=headers).status_code


def test_three_deliveries_at_once_to_two_receivers_pay_once(world: World) -> None:
    """However the copies meet, the payment is made once."""
    flows = [_hibernating(world) for _ in range(4)]
    copies = [(world.receivers[number % 2], proof) for _, proof in flows for number in range(3)]
    with ThreadPoolExecutor(len(copies)) as threads:
        statuses = list(threads.map(lambda copy: _deliver(*copy), copies))
    assert sorted(statuses) == [200] * 8 + [202] * 4
    for pause_id, _ in flows:
        world.until_resumed(pause_id)
        assert world.rows("select name, ended from ledger where pause_id = %s", pause_id) == [
            ("pay", True)
        ]


def test_a_receiver_killed_in_a_listener_loses_nothing(world: World) -> None:
    """Another one finds that the claim is a dead one's, and finishes the flow."""
    pause_id, proof = _hibernating(world)
    world.rows("insert into held values (%s)", pause_id)
    assert _deliver(world.receivers[0], proof) == 202
    [(pid,)] = until(
        lambda: world.rows("select pid from ledger where pause_id = %s", pause_id),
        world.receivers,
    )
    killed = next(process for process in world.receivers if process.popen.pid == pid)
    os.kill(pid, signal.SIGKILL)
    assert killed.popen.wait(SECONDS) == -signal.SIGKILL
    world.rows("delete from held")
    world.until_resumed(pause_id)

    rows = world.rows(
        "select pid = %s, ended from ledger where pause_id = %s order by id", pid, pause_id
    )
    assert rows == [(True, False), (False, True)]
