"""Pruning: does it run, where does it write, and what waits for it?"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from resumer.db import Connection
from resumer.environment import EnvironmentReader
from resumer.pruning import WAITS
from resumer.sql import statement

from .finding import Finding, fail, ok, warn
from .subject import Subject

__all__ = ["check_retention"]

DEFAULT_DAYS = 90.0
MOST = 100_000
WRITABLE = (
    "make the folder, writable for the worker, on a disk with room; nothing is deleted until then"
)


async def check_retention(subject: Subject, connection: Connection) -> Finding:
    """What the settings here keep for how long, and what the last run came to, wherever it ran."""
    values = EnvironmentReader(subject.env).settings()
    days, folder = values.get("retention_days", DEFAULT_DAYS), values.get("audit_dir")
    cursor = await connection.execute("select ran_at, problem from retention")
    ran: dict[str, Any] = await cursor.fetchone() or {"ran_at": None, "problem": None}
    if not days > 0:
        return ok("retention", "everything is kept, as RESUMER_RETENTION_DAYS=0 says")
    if folder and (fault := _unwritable(Path(folder))):
        return fail("retention", f"RESUMER_AUDIT_DIR cannot be written here: {fault}", WRITABLE)
    if ran["problem"]:
        return fail("retention", f"the last run was stopped: {ran['problem']}", WRITABLE)
    if not folder and not values.get("retention_without_export"):
        waiting = await _waiting(subject, connection, days)
        if waiting:
            found = f"{_told(waiting)} ended over {days:g} days ago, and nothing is pruned"
            return warn("retention", found, WAITS)
        return ok("retention", f"nothing has ended over {days:g} days ago")
    last = f", last at {ran['ran_at']:%Y-%m-%d %H:%M} UTC" if ran["ran_at"] else ", not run yet"
    where = f"written to {folder}" if folder else "without an export"
    return ok("retention", f"pruned after {days:g} days, {where}{last}")


def _unwritable(folder: Path) -> str | None:
    try:
        folder.stat()
    except OSError as error:
        return error.strerror or str(error)
    if not folder.is_dir():
        return "it is no folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else "not for this user"


async def _waiting(subject: Subject, connection: Connection, days: float) -> int:
    values = {"before": subject.clock() - timedelta(days=days), "most": MOST}
    cursor = await connection.execute(statement("retention/count_ended"), values)
    found = await cursor.fetchone() or {"count": 0}
    return int(found["count"])


def _told(count: int) -> str:
    return "1 pause" if count == 1 else f"{count} pauses"
