"""`examples/crew_payment.py` as a reader runs it, against the emulator in a process of its own."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 40.0
KEYS = {"LOOPPAUSE_API_KEY": "example-key", "LOOPPAUSE_SIGNING_SECRET": "example-secret"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `resumer emulator`."""
    log = tmp_path_factory.mktemp("emulator") / "log"
    command = [sys.executable, "-m", "resumer", "emulator", "--port", "0"]
    with started(command, log, KEYS):
        yield found(log, r"http://127\.0\.0\.1:\d+")


@contextmanager
def started(
    command: list[str], log: Path, env: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def found(log: Path, pattern: str) -> str:
    end = time.monotonic() + SECONDS
    while not (match := re.search(pattern, log.read_text())):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return match.group()


def waiting(url: str, count: int, log: Path) -> list[str]:
    """The pauses the inbox shows, once there are so many."""
    end = time.monotonic() + SECONDS
    while True:
        page = httpx.get(url, follow_redirects=True).text
        if len(pauses := sorted(set(re.findall(r"pause_[0-9A-Z]{26}", page)))) == count:
            return pauses
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def decide(url: str, pause_id: str, **answer: Any) -> None:
    bearer = {"Authorization": f"Bearer {KEYS['LOOPPAUSE_API_KEY']}"}
    path = f"{url}/v1/pauses/{pause_id}/decision"
    httpx.post(path, json=answer, headers=bearer).raise_for_status()


@pytest.mark.timeout(120)
def test_the_example_pays_what_was_approved_and_nothing_else(emulator: str, tmp_path: Path) -> None:
    """Two runs at once: one approved with less, one rejected."""
    logs = [tmp_path / "first", tmp_path / "second"]
    command = [sys.executable, "examples/crew_payment.py"]
    env = {**KEYS, "LOOPPAUSE_API_URL": emulator}

    with ExitStack() as stack:
        runs = [stack.enter_context(started(command, log, env)) for log in logs]
        approved, rejected = waiting(emulator, 2, logs[0])
        decide(emulator, approved, decision="approved", fields={"amount": 4000})
        decide(emulator, rejected, decision="rejected", comment="ordered twice")
        codes = [example.wait(SECONDS) for example in runs]

    said = [log.read_text() for log in logs]
    assert codes == [0, 0], said
    paid, denied = sorted(said, key=lambda text: "DENIED" in text)
    assert "PAID 4000.00 EUR to Acme GmbH" in paid
    assert "DENIED: pay_invoice was not run, because the reviewer rejected it." in denied
    assert 'The reviewer wrote: "ordered twice".' in denied
    assert "PAID" not in denied


def test_without_looppause_the_example_pays_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason, and an exit code that is not 0."""
    for name, value in {**KEYS, "LOOPPAUSE_API_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)

    assert runpy.run_path(str(ROOT / "examples" / "crew_payment.py"))["main"]() == 1

    captured = capsys.readouterr()
    assert "The crew stopped: Tool 'pay_invoice' failed" in captured.err
    assert "PAID" not in captured.out
