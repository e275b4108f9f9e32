"""Replicas in milliseconds: a process that has imported everything, and forks.

A child is a process of its own that runs the `resumer` command, with nothing started before the
fork. The benchmark starts `python -m resumer` instead; importing takes it seconds each time.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

__all__ = ["Nursery", "Process", "Spawn", "execute", "nursery", "run_module"]

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1


class Process(Protocol):
    """What a fault needs of a process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its id, also once it has ended."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""


class Spawn(Protocol):
    """Starts the `resumer` command; its output is appended to `log`."""

    def __call__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Process:
        """Return the process at once."""


def execute(arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Process:
    """Start `python -m resumer`."""
    return run_module("resumer", arguments, env, log)


def run_module(
    module: str, arguments: Sequence[str], env: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start `python -m` of this module."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


@dataclass(frozen=True)
class _Child:
    pid: int
    ended: Path

    def poll(self) -> int | None:
        text = self.ended.read_text(encoding="utf-8") if self.ended.exists() else ""
        return int(text) if text.endswith("\n") else None

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


@dataclass(frozen=True)
class Nursery:
    """The forking process, from outside."""

    process: subprocess.Popen[str]
    folder: Path

    def __call__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Process:
        """Fork a replica."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"arguments": [*arguments], "env": {**env}, "log": str(log)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        return _Child(pid, self.folder / f"{pid}.ended")


@contextmanager
def nursery(folder: Path, root: Path = ROOT) -> Iterator[Nursery]:
    """Start the forking process; it and all its children end with the block.

    They are the programs of the source tree `root`.
    """
    paths = os.pathsep.join([str(root), str(root / "sdk")])
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.nursery", str(folder)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Nursery(process, folder)
    finally:
        process.communicate()  # it ends when there is nobody to ask it any more


# -- inside the forking process --------------------------------------------------------------


def _serve(folder: Path) -> None:
    import resumer.cli
    import tests.faults.agents  # noqa: F401  (imported before the fork, used by the children)

    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
    while True:
        _reap(folder)
        if not poll.poll(20):
            continue
        line = sys.stdin.readline()
        if not line:
            return
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line), resumer.cli.main)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _reap(folder: Path) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        (folder / f"{pid}.ended").write_text(f"{code}\n", encoding="utf-8")


def _become(order: Mapping[str, Any], main: Any) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(order["env"])
    sys.argv = ["resumer", *order["arguments"]]
    _leave(_run(main), sys.stderr)


def _run(main: Any) -> int:
    try:
        main()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001  (a forked child must never return into its parent)
        traceback.print_exc()
        return 1
    return 0


def _leave(code: int, stream: IO[str]) -> None:
    stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
