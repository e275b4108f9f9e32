"""A receiver in a process of its own, and real pauses for its dashboard to show."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row

from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from tests import agents
from tests.browser.paying import AGENT, build
from tests.browser.served import served
from tests.faults.replicas import free_port

__all__ = ["ACT", "READ", "Desk", "desk"]

ACT = "a-token-to-act-with-1"
READ = "a-token-to-look-with-1"
PROOF = "/webhooks/looppause"


@dataclass
class Desk:
    """A database, a LoopPause, and the receiver at `url` with its dashboard."""

    database_url: str
    url: str
    folder: Path
    looppause: FakeLoopPause
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def ask(self, supplier: str = "Acme Corp", amount: int = 980, *, thread: str = "") -> str:
        """Run a thread to its gate, as the agent's own process does; return its pause."""
        name = thread or f"order-2026-{next(self._numbers):04}"
        config = {"configurable": {"thread_id": name}}
        with PostgresSaver.from_conn_string(self.database_url) as saver:
            graph = copy.copy(build(agents.client_of(self.looppause)))
            graph.checkpointer = saver
            graph.invoke({"supplier": supplier, "amount": amount}, config)
            [interrupt] = graph.get_state(config).interrupts
            pause_id: str = interrupt.value["pause_id"]
        return pause_id

    def answer(self, pause_id: str, decision: str = "approved", **said: Any) -> dict[str, Any]:
        """Decide as a person, and deliver the signed proof."""
        said = {"responder": "ada@example.com", **said}
        proof: dict[str, Any] = self.looppause.decide(pause_id, decision, **said)
        self.deliver(proof)
        return proof

    def deliver(self, proof: dict[str, Any]) -> None:
        """Deliver a proof, maybe once more."""
        assert httpx.post(self.url + PROOF, json=proof, trust_env=False).is_success

    def resolve(self, pause_id: str, state: str, **said: Any) -> None:
        """Answer, and wait until the pause has come to this state."""
        self.answer(pause_id, **said)
        self.until(pause_id, state)

    def park(self, *arguments: Any) -> str:
        """A pause whose bank refused, until it was parked."""
        pause_id = self.ask(*arguments)
        with self.flag("broken"):
            self.resolve(pause_id, "parked")
        return pause_id

    def until(self, pause_id: str, state: str, *, seconds: float = 20.0) -> None:
        """Wait until the pause has this state."""
        end = time.monotonic() + seconds
        while (found := self.state(pause_id)) != state:
            assert time.monotonic() < end, f"{pause_id} is {found}, not {state}"
            time.sleep(0.05)

    def state(self, pause_id: str) -> str | None:
        """Where it stands."""
        rows = self.rows("select state from pauses where pause_id = %s", pause_id)
        return rows[0]["state"] if rows else None

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """What the database answers."""
        with psycopg.connect(
            self.database_url,
            autocommit=True,
            row_factory=dict_row,
            options="-c search_path=resumer",
        ) as connection:
            cursor = connection.execute(query.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def flag(self, name: str) -> Iterator[None]:
        """While the block runs, the bank is `broken` or `slow`."""
        path = self.folder / name
        path.touch()
        try:
            yield
        finally:
            path.unlink()


@contextmanager
def desk(database_url: str, folder: Path) -> Iterator[Desk]:
    """Start `resumer serve`, with a worker and a sweep every second, and stop it at the end."""
    looppause = FakeLoopPause()
    with served(Emulator(looppause, deliver=False).app) as api_url:
        port = free_port()
        made = Desk(database_url, f"http://127.0.0.1:{port}", folder, looppause)
        log = folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "resumer", "serve", "--port", str(port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_environment(made, api_url)},
            )
        try:
            _await_health(made.url, process, log)
            yield made
        finally:
            process.terminate()
            assert process.wait(30) == 0, log.read_text()


def _environment(made: Desk, api_url: str) -> dict[str, str]:
    return {
        "RESUMER_DATABASE_URL": made.database_url,
        "RESUMER_GRAPHS": f"{AGENT}=tests.browser.paying:graph",
        "RESUMER_ACT_TOKENS": json.dumps([f"ada:{ACT}"]),
        "RESUMER_READ_TOKENS": json.dumps([f"grace:{READ}"]),
        "RESUMER_RETRY_DELAYS": "[0.2]",
        "RESUMER_RECONCILE_SECONDS": "1",
        "RESUMER_DRAIN_SECONDS": "2",
        "LOOPPAUSE_API_KEY": "key",
        "LOOPPAUSE_API_URL": api_url,
        "LOOPPAUSE_SIGNING_SECRET": made.looppause.secret,
        "PAYING_FOLDER": str(made.folder),
    }


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 40
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
