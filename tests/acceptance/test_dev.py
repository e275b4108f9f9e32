"""`resumer dev` as a newcomer runs it: one command, a question, a decision, a payment."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shlex
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from looppause_sdk import LoopPauseClient
from tests import agents, postgres
from tests.dev_machine import Dev, Machine

pytestmark = pytest.mark.timeout(150)  # a machine that has other work starts slowly


@pytest.fixture(scope="module")
def headless(
    make_machine: Callable[[], Machine], own_url: str, postgres_server: postgres.Server
) -> dict[str, Dev]:
    """Sessions that end by themselves, started together, since most of their time is starting."""
    own = ("--database-url", own_url, "--graph")
    other_url = postgres_server.database()  # or one would take up what another's graph has asked
    return {
        "approve": make_machine().dev("--approve"),
        "reject": make_machine().dev("--reject"),
        "ed25519": make_machine().dev("--approve", "--scheme", "ed25519"),
        "own": make_machine().dev(*own, "own.py:graph", "--input", '{"amount": 3}', "--approve"),
        "no gate": make_machine().dev(*own, "own.py:plain", "--input", "{}", "--reject"),
        "raises": make_machine().dev(*own, "own.py:graph", "--input", "{}", "--approve"),
        "function": make_machine().dev(
            *("--database-url", other_url, "--graph", "own.py:shouting"),
            *("--input", '"now"', "--approve"),
            env={"RESUMER_GRAPH": "x"},
        ),
        "no graph": make_machine().dev("--input", "{}"),
        "no name": make_machine().dev("--graph", "own.py:grpah", "--port", "0"),
    }


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- by itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, result",
    [
        (
            "approve",
            "PAID 12450 EUR to Acme Corp, approved by you@localhost, idempotency key pause_",
        ),
        ("reject", "NOT PAID, rejected by you@localhost"),
        (
            "ed25519",
            "PAID 12450 EUR to Acme Corp, approved by you@localhost, idempotency key pause_",
        ),
    ],
)
def test_deciding_by_itself(headless: dict[str, Dev], name: str, result: str) -> None:
    """The question, the decision and what came of it are shown; exit code 0, nothing left."""
    dev = headless[name]
    assert dev.wait() == 0, dev.all
    asked, decided, done = (
        dev.out.index("procurement asks: Pay 12450 EUR to Acme Corp"),
        dev.out.index(f"Deciding by itself: {'rejected' if name == 'reject' else 'approved'}"),
        dev.out.index(result),
    )
    assert asked < decided < done
    told = re.findall(r"^  \d\d:\d\d:\d\d resumer +(\w+)", dev.err, re.MULTILINE)
    assert {"delivery", "resuming", "resumed"} <= set(told)
    assert '{"' not in dev.err, "people read it, in a file too"
    assert not (dev.folder / ".resumer" / "postgres" / "postmaster.pid").exists()
    files = {path.name for path in (dev.folder / ".resumer").iterdir()}
    assert files == {
        "env",
        "postgres",
        f"looppause-{'ed25519' if name == 'ed25519' else 'hmac'}.sqlite",
    }


def test_a_terminal_shows_a_story(machine: Machine, own_url: str) -> None:
    """On a terminal: short lines in the order of events, nothing of routine, no JSON."""
    ours, its = pty.openpty()
    dev = machine.dev("--approve", "--database-url", own_url, terminal=its)
    os.close(its)
    shown = b""
    with suppress(OSError):  # that is how a terminal ends
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert dev.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")
    story = [
        r"Resumer runs on this machine\.",
        r"  Inbox     http://127\.0\.0\.1:\d+/",
        r"● procurement asks: Pay 12450 EUR to Acme Corp",
        r"  Its thread [0-9a-f-]{36} hibernates in PostgreSQL; no process waits\.",
        r"  \d\d:\d\d:\d\d resumer   delivery       decision=approved pause_id=…\w{8} result=accepted",
        r"  \d\d:\d\d:\d\d resumer   resuming       attempt=1 pause_id=…\w{8} thread_id=…[0-9a-f]{8}",
        r"● PAID 12450 EUR to Acme Corp",
    ]
    assert re.search(".*".join(story), text, re.DOTALL), text
    for routine in ("migrated", "building_index", "started", "stopping", '{"', "Traceback"):
        assert routine not in text
    log_lines = [line for line in text.splitlines() if re.match(r"  \d\d:\d\d:\d\d ", line)]
    assert max(map(len, log_lines)) <= 100


# -- with a person ------------------------------------------------------------------------------


def test_a_thread_waits_over_a_restart(machine: Machine) -> None:
    """Stopped with Ctrl-C and started again, the question still stands, and can be answered."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    first = machine.dev("--port", port)
    first.until("in a browser and click Approve or Reject. Ctrl-C stops.")
    assert first.inbox == f"http://127.0.0.1:{port}"
    (pause_id,) = first.pauses()
    postgres_pid = first.postgres_pid
    assert is_alive(postgres_pid)
    assert first.interrupt() == 0, first.all
    assert not is_alive(postgres_pid)
    assert "Stopping. What waits is kept: start again and decide." in first.out

    second = machine.dev("--port", port)
    second.until("Still waiting from before.")
    second.until("in a browser and click Approve or Reject. Ctrl-C stops.")
    assert second.pauses() == [pause_id]
    assert second.out.count("asks: Pay 12450 EUR to Acme Corp") == 1
    second.decide(pause_id, "approved")
    second.until(f"approved by carol@acme.example, idempotency key {pause_id}")
    second.until("procurement asks: Pay 12450 EUR to Acme Corp")
    thread_id = re.findall(r"Its thread (\S+) hibernates", first.out)[0]
    assert f"Its thread {thread_id} was resumed." in second.out
    postgres_pid = second.postgres_pid
    assert second.interrupt() == 0, second.all
    assert not is_alive(postgres_pid)
    assert "Traceback" not in first.all + second.all


def test_a_thread_waits_over_a_restart_on_another_port(machine: Machine, own_url: str) -> None:
    """Its proof goes to where the receiver is now, not to where it was when it asked."""
    own = ("--database-url", own_url, "--graph", "own.py:graph", "--port", "0")
    first = machine.dev(*own, "--input", '{"amount": 7}')
    first.until("in a browser and click Approve or Reject")
    (pause_id,) = first.pauses()
    assert first.interrupt() == 0, first.all

    second = machine.dev(*own)
    second.until("Still waiting from before.")
    assert second.inbox != first.inbox
    assert "Its proof goes to" not in second.out
    second.decide(pause_id, "approved")
    second.until("The thread finished. Its state: amount, looppause")
    page = httpx.get(f"{second.inbox}/pauses/{pause_id}").text
    assert "The receiver has moved since: delivered to" in page
    assert second.interrupt() == 0


def test_the_other_commands_work_beside_it(machine: Machine, fresh_url: str) -> None:
    """They find its settings; an answer from `trigger` ends its pause once, and the next is asked."""
    dev = machine.dev("--port", "0", "--database-url", fresh_url)
    dev.until("Pay 12450 EUR")
    machine.run("trigger", "approved")
    dev.until("Pay 980 EUR")
    assert dev.out.count("PAID 12450 EUR") == 1
    assert dev.out.count("Pay 12450 EUR") == 1, "it is not asked again"
    assert "resumed" in machine.run("pauses")
    assert dev.interrupt() == 0, dev.all


# -- one's own graph ----------------------------------------------------------------------------


def test_ones_own_graph_is_started_with_input(headless: dict[str, Dev]) -> None:
    """`--graph` and `--input` start a thread of the user's; its text is shown as it is."""
    dev = headless["own"]
    assert dev.wait() == 0, dev.all
    assert "my-agent asks: Spend [3]" in dev.out
    assert "The thread finished. Its state: amount, looppause" in dev.out


def test_a_graph_without_a_gate_is_no_success(headless: dict[str, Dev]) -> None:
    """A thread that asks nobody is said to, and is not exit code 0."""
    dev = headless["no gate"]
    assert dev.wait() == 1, dev.all
    assert "The thread ended without asking anybody: is there a gate on its way?" in dev.out
    assert "Traceback" not in dev.all


def test_a_graph_that_raises_before_it_asks_is_one_line(headless: dict[str, Dev]) -> None:
    """Its own error, exit code 2, and no traceback."""
    dev = headless["raises"]
    assert dev.wait() == 2
    assert dev.err.splitlines()[-1] == (
        "resumer: the graph raised before it asked: KeyError: 'amount'"
    )
    assert "Traceback" not in dev.all


def test_an_input_without_a_graph_is_refused(headless: dict[str, Dev]) -> None:
    """The example's own threads are not started with it behind the user's back."""
    dev = headless["no graph"]
    assert dev.wait() == 2
    assert "--input is for a graph of yours: give --graph as well" in dev.err


def test_a_misspelt_graph_is_told_before_anything_is_started(headless: dict[str, Dev]) -> None:
    """Exit code 2, what was meant, and no database on the disk."""
    dev = headless["no name"]
    assert dev.wait() == 2
    assert dev.err.splitlines()[-1].strip() == (
        "- --graph: own.py has no 'grpah': did you mean graph?"
    )
    assert not (dev.folder / ".resumer").exists()


def test_a_function_is_started_with_a_text(headless: dict[str, Dev]) -> None:
    """The functional API takes any JSON, and what it returns is shown."""
    dev = headless["function"]
    assert dev.wait() == 0, dev.all
    assert "my-agent asks: shout(word='now')" in dev.out
    assert "The thread finished. It says: NOW" in dev.out


def test_a_misspelt_variable_is_warned_of(headless: dict[str, Dev]) -> None:
    """With the closest there is."""
    dev = headless["function"]
    assert dev.wait() == 0
    assert "unknown_setting did_you_mean=RESUMER_GRAPHS variable=RESUMER_GRAPH" in dev.err


def test_an_agent_of_ones_own_process_is_resumed(
    machine: Machine, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--input`, an agent that runs elsewhere on the printed environment is served."""
    dev = machine.dev("--graph", "own.py:graph", "--port", "0", "--database-url", own_url)
    dev.until("start your agent in another terminal, after source .resumer/env")
    file = machine.folder / ".resumer" / "env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = [shlex.split(line) for line in file.read_text().splitlines()]
    env = dict(pair.split("=", 1) for export, pair in lines if export == "export")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    pause_id = asyncio.run(_ask(env["DATABASE_URL"]))
    dev.until("my-agent asks: Pay 3 EUR")
    dev.decide(pause_id, "approved")
    dev.until("Its thread elsewhere was resumed.")
    assert dev.interrupt() == 0


async def _ask(url: str) -> str:
    with LoopPauseClient() as client:
        graph = agents.payment_agent(client, agents.Ledger().pay, agent_id="my-agent")
        async with agents.hibernating(graph, url) as attached:
            await attached.ainvoke({"amount": 3}, agents.on("elsewhere"))
            state = await attached.aget_state(agents.on("elsewhere"))
    pause_id: Any = state.interrupts[0].value["pause_id"]
    assert isinstance(pause_id, str)
    return pause_id


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_port_in_use_leaves_no_postgres_behind(machine: Machine) -> None:
    """The remedy is said, and the database that was started already is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dev = machine.dev("--port", str(taken.getsockname()[1]))
        assert dev.wait() == 2
    assert "cannot be had (Address already in use): give another --host or --port" in dev.err
    assert not (machine.folder / ".resumer" / "postgres" / "postmaster.pid").exists()
