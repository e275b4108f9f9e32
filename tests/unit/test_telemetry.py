"""Logs: JSON lines for machines, short lines for people, and a host's own setup left alone."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from resumer import telemetry
from resumer.telemetry import get_logger, log_to

log = get_logger()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("resumer")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    structlog.reset_defaults()


def raise_with_a_secret_near() -> None:
    """Raise beside a variable that must not be shown."""
    secret = "hunter2"
    raise ValueError("went wrong" if secret else "")


def log_an_exception() -> None:
    """As a part of ours logs one."""
    try:
        raise_with_a_secret_near()
    except ValueError:
        log.exception("failed", pause_id="pause_1")


SOURCES: dict[str, Callable[[], None]] = {
    "ours": lambda: log.info("resumed", pause_id="pause_1", next_pauses=[], odd={1, 2}),
    "ours, below": lambda: get_logger("resumer.part").warning("parked", reason="ü\n\x1b"),
    "structlog's own": lambda: structlog.get_logger("resumer.emulator").info("delivery", ms=3),
    "a library's": lambda: logging.getLogger("psycopg.pool").warning("error %s in %r", 1, "x"),
    "an exception": log_an_exception,
    "a library's exception": lambda: logging.getLogger("other").error(
        "x", exc_info=ValueError("y")
    ),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_each_line_is_json_where_nobody_watches(source: Callable[[], None]) -> None:
    """Whoever logs and whatever it holds: one line, one JSON object, with level and time."""
    stream = io.StringIO()
    log_to(stream)
    source()
    (line,) = stream.getvalue().splitlines()
    assert {"event", "level", "timestamp"} <= set(json.loads(line))


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_a_traceback_shows_no_variables(brief: bool, stream_type: type[io.StringIO]) -> None:
    """The reason is there, and the values that stood around it are not."""
    stream = stream_type()
    log_to(stream, brief=brief)
    log_an_exception()
    assert "ValueError: went wrong" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_terminal_gets_text(source: Callable[[], None]) -> None:
    """Pretty, and still telling the event."""
    stream = Terminal()
    log_to(stream)
    source()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue().splitlines()[0])


def brief_lines(act: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal shows, without the time."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    log_to(stream, brief=True)
    act()
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"  \d\d:\d\d:\d\d (resumer|looppause) +\w", line) for line in lines)
    return [line[11:] for line in lines]


@pytest.mark.parametrize(
    "act, line",
    [
        (
            lambda: log.info(
                "resuming", pause_id="pause_01M822E2B7ASAP3SJMFZ0G3VP4", attempt=1, agent_id="a"
            ),
            "resumer   resuming       attempt=1 pause_id=…FZ0G3VP4",
        ),
        (
            lambda: log.info("resumed", next_pauses=[], pause_id="p1"),
            "resumer   resumed        pause_id=p1",
        ),
        (lambda: log.info("resumed"), "resumer   resumed"),
        (
            lambda: get_logger("resumer.emulator").info("delivery", at="now", status=202),
            "looppause delivery       status=202",
        ),
        (lambda: logging.getLogger("uvicorn.error").error("no %s", "way"), "resumer   no way"),
    ],
)
def test_a_brief_line_tells_what_matters(
    act: Callable[[], Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time, who, event, and facts short enough for one line."""
    assert brief_lines(act, monkeypatch) == [line]


@pytest.mark.parametrize("event", ["started", "stopping", "building_index", "migrated"])
def test_routine_is_left_out_of_brief_lines(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting and stopping are seen without a log line."""
    assert brief_lines(lambda: log.info(event), monkeypatch) == []


@pytest.mark.parametrize("no_color, coloured", [("", True), ("1", False)])
def test_no_color_is_respected(
    no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR takes the colours out."""
    monkeypatch.setenv("NO_COLOR", no_color)
    for brief in (True, False):
        stream = Terminal()
        log_to(stream, brief=brief)
        log.info("resumed")
        assert ("\x1b[" in stream.getvalue()) is coloured


@pytest.mark.parametrize("level, logged", [("INFO", ["one", "two"]), ("WARNING", ["two"])])
def test_the_level_is_ours_alone(level: str, logged: list[str]) -> None:
    """Our events from the level up; of others warnings only."""
    stream = io.StringIO()
    log_to(stream, level=level)
    log.info("one")
    log.warning("two")
    logging.getLogger("httpx").info("chatter")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == logged


IN_A_HOST = """
import logging, sys
logging.basicConfig(format="%(name)s|%(levelname)s|%(message)s", stream=sys.stdout)
import structlog
before = logging.getLogger().handlers[:]
import resumer
from resumer.telemetry import get_logger
get_logger().info("quiet, as the host has it")
get_logger().warning("heard", pause_id="pause_1")
assert logging.getLogger().handlers == before and not logging.getLogger("resumer").handlers
assert logging.getLogger("resumer").level == logging.NOTSET and not structlog.is_configured()
"""


def test_importing_leaves_a_hosts_logging_alone() -> None:
    """No handler, no level and no structlog setup of ours; its own handler gets our events."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_HOST], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("resumer|WARNING|")
    assert "'event': 'heard'" in line
    assert "'pause_id': 'pause_1'" in line


def test_a_flood_of_warnings_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one event a few are written, then none until a minute later, which says how many were not."""
    now = [100.0]
    written: list[tuple[str, dict[str, Any]]] = []

    class Log:
        def warning(self, event: str, **facts: Any) -> None:
            written.append((event, facts))

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    seldom = telemetry.Seldom(Log(), per_minute=3)
    for number in range(1000):
        seldom.warning("forged", number=number)
    seldom.warning("other")
    assert [event for event, _ in written] == ["forged"] * 3 + ["other"]
    now[0] += 60
    seldom.warning("forged", number=1)
    assert written[-1] == ("forged", {"number": 1, "left_out": 997})
