"""The command: its help, its complaints, and its servers as real processes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from typer.testing import CliRunner

from looppause_sdk.proof import verify
from looppause_sdk.testing import FakeLoopPause
from resumer import cli
from resumer.sql import migrations
from tests import agents

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = "hunter2"
COMMANDS = (
    "dev", "serve", "web", "worker", "migrate", "pauses", "explain", "retry", "discard", "hold",
    "release", "reconcile", "emulator", "trigger", "verify", "sign", "doctor", "audit",
)  # fmt: skip
AGENT = """
from looppause_sdk import LoopPauseClient
from tests.agents import payment_agent
graph = payment_agent(LoopPauseClient(), lambda state: {"done": ["paid"]})
"""


@dataclass
class Process:
    """A `resumer` of its own; `out` and `err` are what it wrote so far."""

    popen: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / f"out-{id(self)}").read_text()

    @property
    def err(self) -> str:
        return (self.folder / f"err-{id(self)}").read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log, every whole line of which must be JSON."""
        return [json.loads(line) for line in self.err.splitlines(keepends=True) if line[-1] == "\n"]

    def until(self, true: Callable[[], Any], *, seconds: float = 30.0) -> Any:
        """Wait for something this process does, and return it."""
        end = time.monotonic() + seconds
        while not (result := true()):
            assert self.popen.poll() is None, f"it ended by itself:\n{self.out}\n{self.err}"
            assert time.monotonic() < end, f"not in time:\n{self.out}\n{self.err}"
            time.sleep(0.02)
        return result

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event in its log."""
        found: dict[str, Any] = self.until(
            lambda: next((event for event in self.events if event["event"] == name), None)
        )
        return found

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send the signal; return the exit code, and how many seconds it took."""
        started = time.monotonic()
        self.popen.send_signal(number)
        return self.popen.wait(timeout=20), time.monotonic() - started


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes; those that still run at the end are killed."""
    processes: list[Process] = []

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> Process:
        process = Process(None, tmp_path)  # type: ignore[arg-type]  # in a moment
        with (
            (tmp_path / f"out-{id(process)}").open("wb") as out,
            (tmp_path / f"err-{id(process)}").open("wb") as err,
        ):
            process.popen = subprocess.Popen(
                [sys.executable, "-m", "resumer", *arguments],
                env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **(env or {})},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("resumer")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    structlog.reset_defaults()


# -- help and complaints ------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_readable_help(command: str) -> None:
    """The first line says what it does, and every option says what it is for."""
    result = CliRunner().invoke(
        cli.app, [command, "--help"], env={"COLUMNS": "100", "TERM": "dumb"}
    )
    assert result.exit_code == 0
    text = re.sub(r"[│╭╮╰╯─]", " ", result.output)
    assert re.search(rf"Usage: \S+ {command}", text)
    options = re.findall(
        r"^ +(--[a-z-]+) +(?:<[^>]*>|[A-Z]+)?(?:\[[^]]*\])? +(\S.*)$", text, re.MULTILINE
    )
    assert {"--help"} <= {name for name, _ in options}
    assert all(len(about.split()) >= 3 for _, about in options)


def test_help_leads_a_newcomer_on() -> None:
    """All commands are named, the first thing to try, and the settings that are needed."""
    result = CliRunner().invoke(cli.app, [], env={"COLUMNS": "100", "TERM": "dumb"})
    assert "Run `resumer dev`: it starts everything on this machine." in result.output
    assert "resumer --install-completion" in result.output
    for name in (*COMMANDS, "RESUMER_DATABASE_URL", "RESUMER_GRAPHS", "LOOPPAUSE_SIGNING_SECRET"):
        assert name in result.output


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["bogus"], "No such command 'bogus'"),
        (["serve", "--bogus"], "No such option: --bogus"),
        (["serve", "--port", "http"], "Invalid value for '--port'"),
        (["web", "--port", "65536"], "Invalid value for '--port'"),
        (["worker", "extra"], "unexpected extra argument"),
        (["emulator", "--scheme", "rsa"], "--scheme must be hmac or ed25519"),
        (["dev", "--scheme", "rsa"], "--scheme must be hmac or ed25519"),
        (["dev", "--approve", "--reject"], "choose --approve or --reject, not both"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("_logging_restored")
def test_wrong_options_are_named(arguments: list[str], complaint: str) -> None:
    """A slip of the hand is answered with what was wrong, and exit code 2."""
    result = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "100", "TERM": "dumb"})
    assert result.exit_code == 2
    assert complaint in result.output


def test_the_version_is_the_distributions(start: Start) -> None:
    """`python -m resumer --version` tells which version is installed."""
    process = start("--version")
    assert process.popen.wait(timeout=30) == 0
    assert process.out == f"resumer {version('looppause-resumer')}\n"


@pytest.mark.parametrize(
    "arguments, env, lines",
    [
        (
            ["serve"],
            {},
            [
                "the settings cannot be used:",
                "  - RESUMER_DATABASE_URL is missing: set it to postgresql://user:password@host:5432/database",
                "  - no key to verify proofs with: set LOOPPAUSE_SIGNING_SECRET (HMAC) or LOOPPAUSE_PUBLIC_KEYS (Ed25519, JSON array)",
            ],
        ),
        (
            ["web"],
            {
                "DATABASE_URL": f"mysql://u:{HIDDEN}@db/x",
                "LOOPPAUSE_SIGNING_SECRETS": HIDDEN,
                "LOOPPAUSE_SIGNING_SECRET": HIDDEN,
                "RESUMER_CONCURRENCY": "0",
            },
            [
                "the settings cannot be used:",
                '  - LOOPPAUSE_SIGNING_SECRETS: must be a JSON array of strings, e.g. ["first","second"]',
                "  - RESUMER_DATABASE_URL must start with postgresql://",
                "  - RESUMER_CONCURRENCY must be a number above 0",
            ],
        ),
        (
            ["worker", "--graph", "nothing"],
            {"DATABASE_URL": "postgres://x/y", "LOOPPAUSE_SIGNING_SECRET": HIDDEN},
            ["the settings cannot be used:", "  - --graph: 'nothing' is not name=module:attribute"],
        ),
        (
            ["migrate"],
            {"DATABASE_URL": f"postgresql://u:{HIDDEN}@[::1/x"},
            [
                "the settings cannot be used:",
                "  - RESUMER_DATABASE_URL cannot be read: in a user name or password, write @ as %40, / as %2F, : as %3A and % as %25",
            ],
        ),
        (
            ["migrate", "--database-url", f"postgresql://u:{HIDDEN}@127.0.0.1:1/x"],
            {},
            ['the database does not answer: connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'],
        ),
        (
            ["dev", "--graph", "own.py:graph", "--input", "{amount: 1}"],
            {},
            ["the settings cannot be used:", "  - --input is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
        ),
        (
            ["dev", "--flow", "own.py:Own", "--input", "[]"],
            {},
            ["the settings cannot be used:", "  - --input must be a JSON object: a flow is started with inputs"],
        ),
        (
            ["dev", "--graph", "m:g", "--approve"],
            {},
            ["the settings cannot be used:", "  - --approve and --reject need a thread: give --input as well"],
        ),
    ],
    ids=["nothing set", "several", "graph", "URL", "no database", "no JSON", "no object", "no input"],
)  # fmt: skip
@pytest.mark.usefixtures("_logging_restored")
def test_what_cannot_work_is_said_in_one_place(
    arguments: list[str],
    env: dict[str, str],
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All faults at once on standard error, exit code 2, no traceback and no secret."""
    monkeypatch.setattr(sys, "argv", ["resumer", *arguments])
    for name in list(os.environ):
        if name.startswith(("RESUMER_", "LOOPPAUSE_", "DATABASE_")):
            monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.err.splitlines() == [f"resumer: {lines[0]}", *lines[1:]]
    assert HIDDEN not in said.out + said.err


def test_a_process_without_settings_ends_at_once(start: Start) -> None:
    """As a process, too: exit code 2, the faults on standard error, nothing on the other."""
    process = start("serve", env={"LOOPPAUSE_API_KEY": HIDDEN})
    assert process.popen.wait(timeout=30) == 2
    assert process.err.startswith("resumer: the settings cannot be used:\n  - RESUMER_DATABASE_URL")
    assert "Traceback" not in process.err
    assert HIDDEN not in process.err
    assert process.out == ""


# -- servers ------------------------------------------------------------------------------------


@pytest.fixture
def env(database_url: str, looppause: FakeLoopPause, tmp_path: Path) -> dict[str, str]:
    """What a deployment sets."""
    (tmp_path / "agent.py").write_text(AGENT)
    return {
        "DATABASE_URL": database_url,
        "RESUMER_GRAPHS": f"procurement={tmp_path / 'agent.py'}:graph",
        "RESUMER_DRAIN_SECONDS": "5",
        "LOOPPAUSE_API_KEY": "a-key-nobody-may-see",
        "LOOPPAUSE_API_URL": "http://127.0.0.1:1",
        "LOOPPAUSE_SIGNING_SECRET": looppause.secret,
    }


def test_web_takes_what_worker_resumes(
    start: Start, env: dict[str, str], database_url: str, looppause: FakeLoopPause
) -> None:
    """Two processes: a proof posted to one wakes the thread in the other; both end on SIGTERM."""
    web, worker = start("web", "--port", "0", env=env), start("worker", env=env)
    pause_id = asyncio.run(_hibernate(database_url, looppause))
    address = web.event("listening")["webhook"]
    worker.event("started")
    assert address.endswith("/webhooks/looppause")
    ready = address.replace("webhooks/looppause", "readyz")
    worker.until(lambda: httpx.get(ready).status_code == 200)
    proof = looppause.decide(pause_id, "approved", comment="a private comment")
    reply = httpx.post(address, json=proof)
    assert (reply.status_code, reply.json()) == (202, {"status": "accepted", "pause_id": pause_id})
    assert worker.event("resumed")["pause_id"] == pause_id
    assert _done(database_url, looppause) == ["paid"]

    ended = [web.stop(), worker.stop()]
    assert [code for code, _ in ended] == [0, 0]
    assert all(seconds < 5 for _, seconds in ended)
    for process in (web, worker):
        assert {"started", "stopping"} <= {event["event"] for event in process.events}
        for private in (looppause.secret, proof["signature"], "private", "nobody-may-see"):
            assert private not in process.err + process.out


async def _hibernate(url: str, looppause: FakeLoopPause) -> str:
    graph = agents.payment_agent(agents.client_of(looppause), agents.Ledger().pay)
    async with agents.hibernating(graph, url) as attached:
        await attached.ainvoke({"amount": 12}, agents.on("thread"))
        state = await attached.aget_state(agents.on("thread"))
    pause_id: str = state.interrupts[0].value["pause_id"]
    return pause_id


def _done(url: str, looppause: FakeLoopPause) -> list[str]:
    async def done() -> Any:
        graph = agents.payment_agent(agents.client_of(looppause), agents.Ledger().pay)
        async with agents.hibernating(graph, url) as attached:
            return (await attached.aget_state(agents.on("thread"))).values["done"]

    found: list[str] = asyncio.run(done())
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_serve_is_both_in_one(
    start: Start, env: dict[str, str], looppause: FakeLoopPause, number: signal.Signals
) -> None:
    """One process that is ready by itself, logs JSON, and ends on either signal."""
    server = start("serve", "--port", "0", env=env)
    address = server.event("listening")["webhook"].removesuffix("/webhooks/looppause")
    assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
    server.until(lambda: httpx.get(f"{address}/readyz").json() == {"status": "ready"})
    forged = {**looppause.sign({"pause_id": "p"}), "decision": "approved"}
    assert httpx.post(f"{address}/webhooks/looppause", json=forged).status_code == 401
    code, seconds = server.stop(number)
    assert code == 0
    assert seconds < 5
    assert [
        event["level"] for event in server.events if event["event"] == "delivery_not_genuine"
    ] == ["warning"]
    assert server.out == ""


def test_a_port_in_use_is_one_clear_line(start: Start, env: dict[str, str]) -> None:
    """The process ends with the address and the remedy instead of a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        processes = [
            start(*command, "--port", str(port), env=env) for command in (["web"], ["emulator"])
        ]
        codes = [process.popen.wait(timeout=30) for process in processes]
    assert codes == [2, 2]
    for process in processes:
        assert process.err.splitlines()[-1] == (
            f"resumer: 127.0.0.1:{port} cannot be had (Address already in use): "
            "give another --host or --port"
        )
        assert "Traceback" not in process.err


def test_migrate_says_that_it_is_done(start: Start, database_url: str) -> None:
    """On a database that is migrated already there is nothing to do, and that is fine."""
    process = start("migrate", env={"RESUMER_DATABASE_URL": database_url})
    assert process.popen.wait(timeout=30) == 0
    assert (process.out, process.err) == ("migrated\n", "")
    with psycopg.connect(database_url) as connection:
        applied = connection.execute("select version from resumer.migrations order by 1").fetchall()
    assert [version for (version,) in applied] == [number for number, _ in migrations()]


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
def test_the_emulator_is_a_looppause(start: Start, tmp_path: Path, scheme: str) -> None:
    """It prints the settings for an agent, and its proofs verify with them."""
    emulator = start(
        "emulator", "--port", "0", "--scheme", scheme, "--file", str(tmp_path / "file")
    )
    emulator.until(
        lambda: "LOOPPAUSE_SIGNING_SECRET" in emulator.out or "PUBLIC_KEYS" in emulator.out
    )
    said = dict(re.findall(r"(LOOPPAUSE_\w+)='?([^'\n]*)", emulator.out))
    with httpx.Client(
        base_url=said["LOOPPAUSE_API_URL"],
        headers={"Authorization": f"Bearer {said['LOOPPAUSE_API_KEY']}"},
    ) as http:
        action = agents.action_of({"amount": 5})
        asked = {"agent_id": "a", "action": action, "recipients": agents.RECIPIENTS}
        made = http.post("/v1/pauses", json=asked, headers={"Idempotency-Key": "k"})
        pause_id = made.json()["pause_id"]
        assert "<title>" in http.get("/").text
        decided = http.post(f"/v1/pauses/{pause_id}/decision", json={"decision": "approved"})
        assert decided.status_code == 200
        body = http.get(f"/v1/pauses/{pause_id}").content
    keys: dict[str, Any] = (
        {"secrets": [said["LOOPPAUSE_SIGNING_SECRET"]]}
        if scheme == "hmac"
        else {"public_keys": json.loads(said["LOOPPAUSE_PUBLIC_KEYS"])}
    )
    assert verify(body, **keys).pause_id == pause_id
    assert emulator.stop()[0] == 0
    assert isinstance(emulator.events, list)
