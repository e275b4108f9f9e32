"""What a PostgreSQL writes into its log of each statement: counted by who sent it.

Sessions are told apart by their `application_name`; those named `observer` are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resumer import sql
from resumer.db import Connection

__all__ = ["OBSERVER", "Seen", "ServerLog", "logging_all"]

OBSERVER = "observer"
FIRST_CHARS = 30
EMPTY = "(an empty query: whether the connection lives)"
ENTRY = re.compile(r"^(\d+)\|([^|]*)\|LOG:  duration: ([0-9.]+) ms  ([^:]*): ?(.*)$", re.DOTALL)
LOGGED = """
alter system set log_line_prefix = '%p|%a|';
alter system set log_parameter_max_length = 0;
alter system set log_min_duration_statement = 0;
alter system set log_lock_waits = off;
"""


async def logging_all(connection: Connection) -> None:
    """Have the server log each statement from now on."""
    for line in LOGGED.strip().splitlines():
        await connection.execute(line.encode())
    await connection.execute("select pg_reload_conf()")


@dataclass
class Seen:
    """One statement of one sender: how often, and how long the server was at it."""

    count: int = 0
    ms: float = 0.0


@dataclass
class ServerLog:
    """The server's log, read from where it was read before."""

    path: Path
    offset: int = 0
    _sessions: dict[str, str] = field(default_factory=dict)

    def skip(self) -> None:
        """Forget what was written so far."""
        self.offset = self.path.stat().st_size

    def read(self) -> dict[tuple[str, str], Seen]:
        """What was asked since, by sender and statement."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            text = file.read().decode(errors="replace")
        self.offset += len(text.encode())
        seen: dict[tuple[str, str], Seen] = defaultdict(Seen)
        for entry in _entries(text):
            if (found := ENTRY.match(entry)) is None or found[2] == OBSERVER:
                continue
            pid, name, ms, kind, statement = found.groups()
            told = _short(statement)
            one = seen[self._sender(pid, name, told), told]
            one.ms += float(ms)
            # Nothing is executed of an empty query, which a pool asks before it lends a connection.
            one.count += kind.startswith("bind") if told == EMPTY else not _PREPARING.match(kind)
        return seen

    def _sender(self, pid: str, name: str, told: str) -> str:
        if "advisory_lock" in told and name.endswith("threads"):
            self._sessions[pid] = "lock connection"
        elif told.startswith("LISTEN"):
            self._sessions[pid] = "LISTEN connection"
        part = self._sessions.get(pid)
        if part is None and name == "worker":
            part = "queue" if "procrastinate_" in told.lower() else "records"
        return f"{name}: {part}" if part else name


def _entries(text: str) -> Iterator[str]:
    """Lines of the log; those that begin with a tab belong to the one before."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("\t"):
            lines.append(line)
            continue
        if lines:
            yield "\n".join(lines)
        lines = [line]
    if lines:
        yield "\n".join(lines)


_QUEUE_FUNCTION = re.compile(r"(procrastinate_[a-z_]+)_v\d+ ?\(")
_PREPARING = re.compile("parse|bind")
_FILES = {
    text[:FIRST_CHARS]: path.name
    for path in Path(sql.__file__).parent.glob("*.sql")
    if (text := path.read_text(encoding="utf-8")).startswith("-- ")
}


def _short(statement: str) -> str:
    """The file it is from, or how it begins."""
    if name := _FILES.get(statement.strip()[:FIRST_CHARS]):
        return name
    kept = [line for line in statement.splitlines() if not line.strip().startswith("--")]
    text = " ".join(" ".join(kept).split())
    if function := _QUEUE_FUNCTION.search(text):
        return f"{function[1]}(...)"
    return text[:90] or EMPTY
