"""`resumer dev` in a folder of its own, as a person starts, reads and stops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["SECONDS", "Dev", "Machine"]

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 90.0
OWN_GRAPH = '''
"""A user's own agent."""
from typing import TypedDict
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from looppause_sdk import LoopPauseClient
from looppause_sdk.langgraph import GateResult, make_interrupt_gate, requires_approval

class State(TypedDict, total=False):
    amount: int
    looppause: GateResult

builder = StateGraph(State)
builder.add_node("gate", make_interrupt_gate(
    LoopPauseClient(), agent_id="my-agent", recipients=[{"channel": "slack", "target": "#x"}],
    action_builder=lambda state: {
        "type": "mine", "description": f"Spend [{state['amount']}]", "details": {}}))
builder.add_edge(START, "gate")
builder.add_edge("gate", END)
graph = builder.compile()

@requires_approval(
    LoopPauseClient(), agent_id="my-agent", recipients=[{"channel": "slack", "target": "#x"}])
def shout(word: str) -> str:
    return word.upper()

@entrypoint()
def shouting(word: str) -> str:
    return shout(word)

plain = StateGraph(State)
plain.add_node("one", lambda state: {"amount": 1})
plain.add_edge(START, "one")
plain.add_edge("one", END)
'''


@dataclass
class Dev:
    """One `resumer dev`; `out` and `err` are what it wrote so far."""

    popen: subprocess.Popen[bytes]
    folder: Path
    name: str

    @property
    def out(self) -> str:
        return (self.folder / f"{self.name}.out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / f"{self.name}.err").read_text()

    @property
    def all(self) -> str:
        return f"{self.out}\n--- standard error\n{self.err}"

    @property
    def inbox(self) -> str:
        """The address it tells people to open."""
        return str(re.findall(r"Inbox +(http://\S+)/", self.out)[0])

    @property
    def postgres_pid(self) -> int:
        """The process of its PostgreSQL."""
        path = self.folder / ".resumer" / "postgres" / "postmaster.pid"
        return int(path.read_text().splitlines()[0])

    def wait(self) -> int:
        """Wait for it to end by itself; return the exit code."""
        return self.popen.wait(timeout=SECONDS)

    def until(self, text: str) -> None:
        """Wait until it has said this, or has logged it."""
        end = time.monotonic() + SECONDS
        while text not in self.all:
            assert self.popen.poll() is None, f"it ended by itself:\n{self.all}"
            assert time.monotonic() < end, f"{text!r} was not said in time:\n{self.all}"
            time.sleep(0.05)

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(timeout=20)

    def pauses(self) -> list[str]:
        """The pauses its inbox shows."""
        page = httpx.get(f"{self.inbox}/").text
        return sorted(set(re.findall(r"pause_[0-9A-Z]{26}", page)))

    def decide(self, pause_id: str, decision: str) -> None:
        """Decide as a script does."""
        reply = httpx.post(
            f"{self.inbox}/v1/pauses/{pause_id}/decision",
            json={"decision": decision, "responder": "carol@acme.example"},
            headers={"Authorization": "Bearer local-development"},
        )
        assert reply.status_code == 200, reply.text


class Machine:
    """A folder to start `resumer dev` in, with an environment that knows nothing of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Dev] = []
        (folder / "own.py").write_text(OWN_GRAPH)

    def write(self, name: str, text: str) -> None:
        """Save a file, as an editor does."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def dev(
        self, *arguments: str, terminal: int | None = None, env: Mapping[str, str] | None = None
    ) -> Dev:
        """Start it; `terminal` is a descriptor to write to instead of files."""
        name = f"dev-{len(self.started)}"
        with (
            (self.folder / f"{name}.out").open("wb") as out,
            (self.folder / f"{name}.err").open("wb") as err,
        ):
            popen = subprocess.Popen(
                [sys.executable, "-m", "resumer", "dev", *arguments],
                env={**self._env, **(env or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=terminal or out,
                stderr=terminal or err,
            )
        self.started.append(Dev(popen, self.folder, name))
        return self.started[-1]

    def run(self, *arguments: str) -> str:
        """What another command says in this folder, once it has ended well."""
        ended = subprocess.run(
            [sys.executable, "-m", "resumer", *arguments],
            env=self._env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @property
    def _env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}",
            "TERM": "xterm",
        }

    def close(self) -> None:
        """End what still runs."""
        for dev in self.started:
            if dev.popen.poll() is None:
                dev.popen.terminate()
                with suppress(subprocess.TimeoutExpired):
                    dev.popen.wait(timeout=10)
                dev.popen.kill()
                dev.popen.wait()
