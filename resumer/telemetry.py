"""Logs: one event per step, through the standard library, so that a host's own setup holds."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TextIO

import structlog

__all__ = ["Seldom", "get_logger", "log_to"]

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_PROCESSORS: list[Any] = [
    structlog.stdlib.filter_by_level,
    *_SHARED,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]

# What says little to somebody who watches one thread on a terminal.
_ROUTINE = frozenset(
    {"procrastinate_schema_created", "migrated", "building_index", "started", "stopping"}
)
_DETAILS = frozenset({"agent_id", "at", "authorization_type", "key", "level", "timestamp"})
_COLOURS = {"warning": 33, "error": 31, "critical": 31}


def get_logger(name: str = "resumer") -> Any:
    """A structlog logger over the standard library's, which the host or our CLI sets up."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=_PROCESSORS,
    )


class Seldom:
    """Warnings that strangers can cause: a flood of them must not fill a disk.

    Of each event at most `per_minute` are written; the first one of a later minute says how many
    were `left_out` before it.
    """

    def __init__(self, log: Any, *, per_minute: int = 20) -> None:
        self._log = log
        self._per_minute = per_minute
        self._written: dict[str, tuple[float, int]] = {}

    def warning(self, event: str, **facts: Any) -> None:
        """Write the event, unless there were too many of it lately."""
        now = time.monotonic()
        since, count = self._written.get(event, (now, 0))
        if now - since >= 60.0:
            if count > self._per_minute:
                facts["left_out"] = count - self._per_minute
            since, count = now, 0
        self._written[event] = (since, count + 1)
        if count < self._per_minute:
            self._log.warning(event, **facts)


def log_to(
    stream: TextIO = sys.stderr,
    *,
    level: str = "INFO",
    json: bool | None = None,
    brief: bool = False,
) -> None:
    """Set up logging for a process of ours: pretty on a terminal, JSON lines otherwise.

    `brief` makes a terminal's lines short, and leaves out what is routine.
    """
    as_json = not stream.isatty() if json is None else json
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=_JSON if as_json else [_brief_line(stream)] if brief else _pretty(stream),
        )
    )
    if brief and not as_json:
        handler.addFilter(_is_no_routine)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("resumer").setLevel(level)
    # For loggers that structlog itself hands out, in a graph as well as in our parts.
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


_JSON: list[Any] = [
    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
]


def _pretty(stream: TextIO) -> list[Any]:
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        # The default shows local variables in tracebacks, and with them secrets.
        structlog.dev.ConsoleRenderer(
            colors=_has_colours(stream), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _has_colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _is_no_routine(record: logging.LogRecord) -> bool:
    return not (isinstance(record.msg, dict) and record.msg.get("event") in _ROUTINE)


def _brief_line(stream: TextIO) -> Any:
    has_colours = _has_colours(stream)

    def render(_logger: Any, _method: str, event: Any) -> str:
        event = structlog.processors.format_exc_info(_logger, _method, dict(event))
        record, trace = event.pop("_record"), event.pop("exception", "")
        event.pop("_from_structlog", None)
        who = "looppause" if record.name.startswith("resumer.emulator") else "resumer"
        time = f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S}"
        line = f"  {time} {who:<9} {event.pop('event')!s:<14} {_facts(event)}".rstrip()
        text = f"{line}\n{trace}" if trace else line
        return f"\x1b[{_COLOURS.get(event['level'], 2)}m{text}\x1b[0m" if has_colours else text

    return render


def _facts(event: Mapping[str, Any]) -> str:
    told = {k: v for k, v in event.items() if k not in _DETAILS and v not in (None, [], "")}
    return " ".join(f"{name}={_short(name, value)}" for name, value in sorted(told.items()))


def _short(name: str, value: Any) -> str:
    """The end of an id, by which it is told apart; anything else in full."""
    text = str(value)
    return f"…{text[-8:]}" if name.endswith("_id") and len(text) > 12 else text
