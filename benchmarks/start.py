"""What an import of the SDK costs beside `import httpx`, and a start beside uvicorn's.

    python3 -m uv run benchmarks/start.py --rounds 25 --starts 7

Fresh processes in turns, with their bytecode compiled as after an installation. The import is
timed inside the process, once with what the SDK needs and nothing else to be found (`bare`: no
`rich`, which httpx imports where it is installed), once with all that is installed here. A start is
timed from the command to the first 200: of `uvicorn hello:app`, the first program of
https://www.uvicorn.org/, of `resumer serve`, `worker` (both `/readyz`) and `web`
(`/readyz/receive`) over a migrated PostgreSQL, with a graph of one gate, and of `resumer dev` over
an existing folder, which starts a PostgreSQL of its own first.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import looppause_sdk
from benchmarks.programs import compiled_in, free_port, program, ready, resumer
from benchmarks.report import report
from resumer.embedded import embedded_postgres

ROOT = Path(__file__).parents[1]
MODULES = ("httpx", "looppause_sdk")
TIMED = """
import sys, time
sys.path[:0] = {path}
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
HELLO = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
    await send(head)
    await send({"type": "http.response.body", "body": b"Hello"})
"""
KEYS = {"LOOPPAUSE_API_KEY": "key", "LOOPPAUSE_SIGNING_SECRET": "a secret of no use elsewhere"}


def main(options: argparse.Namespace) -> None:
    """Imports, then the commands that only print, then the servers."""
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        env = {**compiled_in(folder / "bytecode"), **KEYS}
        imports = {"bare": _bare(folder / "bare"), "all": []}
        result: dict[str, Any] = {
            f"import_{name}": _imports(found, env, options.rounds, bare=name == "bare")
            for name, found in imports.items()
        }
        result["commands_ms"] = _commands(env, options.starts)
        result["ready"] = _starts(stack, folder, env, options.starts)
    report("start", result)


# -- imports ---------------------------------------------------------------------------------


def _bare(folder: Path) -> list[str]:
    """A path with what the SDK needs, and nothing else."""
    folder.mkdir()
    for package in Path(looppause_sdk.__file__).parent, *_needs("looppause-sdk", set()):
        (folder / package.name).symlink_to(package)
    return [str(folder)]


def _needs(name: str, seen: set[str]) -> Iterator[Path]:
    """What the distributions that it needs have installed."""
    for text in distribution(name).requires or ():
        needed = Requirement(text)
        known = canonicalize_name(needed.name)
        if known in seen or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        seen.add(known)
        found = distribution(known)
        tops = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        yield from (Path(str(found.locate_file(top))) for top in sorted(tops))
        yield from _needs(known, seen)


def _imports(
    path: Sequence[str], env: Mapping[str, str], rounds: int, *, bare: bool
) -> dict[str, Any]:
    command = [sys.executable, *(["-S"] if bare else [])]
    codes = {module: TIMED.format(path=list(path), module=module) for module in MODULES}
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    for number in range(rounds + 1):
        for module, code in codes.items():
            output = subprocess.check_output([*command, "-c", code], env=env)  # noqa: S603  (above)
            if number:  # the first one compiles
                times[module].append(float(output) * 1000)
    base, ours = (times[module] for module in MODULES)
    return {
        "rounds": rounds,
        **{f"{module}_ms": round(statistics.median(times[module]), 1) for module in MODULES},
        "ratio": round(statistics.median(a / b for a, b in zip(ours, base, strict=True)), 2),
    }


# -- commands --------------------------------------------------------------------------------


def _commands(env: Mapping[str, str], rounds: int) -> dict[str, float]:
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "resumer --help": resumer("--help"),
        "resumer --version": resumer("--version"),
        "resumer pauses --help": resumer("pauses", "--help"),
    }
    took = _in_turns({name: lambda it=it: _run(it, env) for name, it in commands.items()}, rounds)  # type: ignore[misc]  # each its own
    return {name: round(statistics.median(times) * 1000) for name, times in took.items()}


def _run(command: Sequence[str], env: Mapping[str, str]) -> float:
    start = time.perf_counter()
    subprocess.check_output(command, env=env, stderr=subprocess.DEVNULL)  # noqa: S603  (above)
    return time.perf_counter() - start


def _in_turns(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each returns, in rounds; what the first round compiles does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            seconds = work()
            if number:
                times[name].append(seconds)
    return times


# -- starts ----------------------------------------------------------------------------------


def _starts(stack: ExitStack, folder: Path, env: Mapping[str, str], rounds: int) -> dict[str, Any]:
    database = stack.enter_context(embedded_postgres(folder / "postgres"))
    (folder / "hello.py").write_text(HELLO, encoding="utf-8")
    env = {**env, "RESUMER_DATABASE_URL": database, "PYTHONPATH": f"{folder}:{ROOT}"}
    _run(resumer("migrate"), env)
    again = {**env, "RESUMER_DATABASE_URL": _another(database)}
    result: dict[str, Any] = {"migrate_empty_s": round(_run(resumer("migrate"), again), 2)}
    dev = {name: value for name, value in env.items() if name != "RESUMER_DATABASE_URL"}
    graph = ("--graph", "procurement=benchmarks.gated_agent:ours")
    starts: dict[str, Callable[[], float]] = {
        "uvicorn": lambda: _ready(["-m", "uvicorn", "hello:app", "--port"], "/", env, folder),
        "serve": lambda: _ready(["-m", "resumer", "serve", *graph, "--port"], READY, env, folder),
        "web": lambda: _ready(["-m", "resumer", "web", "--port"], f"{READY}/receive", env, folder),
        "worker": lambda: _ready(
            ["-m", "resumer", "worker", *graph, "--metrics-port"], READY, env, folder
        ),
        "dev": lambda: _ready(
            ["-m", "resumer", "dev", "--no-open", "--port"], f"/resumer{READY}", dev, folder
        ),
    }
    for name, times in _in_turns(starts, rounds).items():
        result[f"{name}_s"] = round(statistics.median(times), 2)
        result[f"{name}_slowest_s"] = round(max(times), 2)
    for name in ("serve", "web", "worker"):
        result[f"{name}_more_than_uvicorn_s"] = round(result[f"{name}_s"] - result["uvicorn_s"], 2)
    return result


READY = "/readyz"


def _another(database: str) -> str:
    """An empty database of the same server."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create database another")
    return urlsplit(database)._replace(path="/another").geturl()


def _ready(arguments: Sequence[str], path: str, env: Mapping[str, str], folder: Path) -> float:
    port = free_port()
    start = time.perf_counter()
    with program([sys.executable, *arguments, str(port)], env, cwd=folder) as process:
        ready(process, f"http://127.0.0.1:{port}{path}")
        return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="imports of each")
    parser.add_argument("--starts", type=int, default=7, help="starts of each")
    main(parser.parse_args())
