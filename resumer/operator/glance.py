"""The overview: each part one question that its index answers, whatever the table's size."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql

from resumer.db import Connection
from resumer.model import State
from resumer.sql import statement

from .narrowing import ROW, row_of
from .views import Bucket, Held, KeyUse, Latency, Overview, Row, Worker

__all__ = ["PARTS", "glance", "part", "width_of"]

PARTS = (
    "counts",
    "parked",
    "series",
    "latency",
    "workers",
    "queue",
    "keys",
    "refused",
    "held",
    "agents",
)
WIDTHS = tuple(timedelta(minutes=m) for m in (5, 10, 30, 60, 180, 360, 720, 1440))
MOST_BUCKETS = 60


def width_of(hours: int) -> timedelta:
    """How long a bucket is, so that a chart of `hours` has up to some sixty."""
    period = timedelta(hours=hours)
    return next((width for width in WIDTHS if period <= MOST_BUCKETS * width), WIDTHS[-1])


async def glance(
    connection: Connection, now: datetime, hours: int, stall_seconds: float
) -> Overview:
    """Ask for every part, and put them together."""
    width, since = width_of(hours), now - timedelta(hours=hours)
    values = {"since": since, "width": width, "stall_seconds": stall_seconds}
    parts = {name: await part(connection, name, values) for name in PARTS}
    [queue], [latency] = parts["queue"], parts["latency"]
    return Overview(
        now=now,
        period_hours=hours,
        counts=dict.fromkeys(State, 0) | {State(r["state"]): r["n"] for r in parts["counts"]},
        oldest_unresolved=await _oldest(connection),
        parked_by_reason={row["reason_code"]: row["n"] for row in parts["parked"]},
        series=_series(parts["series"], since, now, width),
        latency=Latency(**latency),
        workers=tuple(Worker(**row) for row in parts["workers"]),
        queued=queue["queued"],
        swept_at=queue["swept_at"],
        full_sweep_at=queue["full_at"],
        keys=tuple(KeyUse(**row) for row in parts["keys"]),
        refused={row["scheme"]: row["n"] for row in parts["refused"]},
        held=tuple(Held(**row) for row in parts["held"]),
        agents=tuple(row["agent_id"] for row in parts["agents"]),
    )


async def part(
    connection: Connection, name: str, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of one part of the overview."""
    cursor = await connection.execute(statement(f"operator/{name}"), values)
    return await cursor.fetchall()


async def _oldest(connection: Connection) -> Row | None:
    oldest = sql.SQL(statement("operator/oldest"))
    query = sql.SQL("select {} from pauses where pause_id = ({})").format(ROW, oldest)
    cursor = await connection.execute(query)
    row = await cursor.fetchone()
    return row_of(row) if row else None


def _series(
    rows: list[dict[str, Any]], since: datetime, now: datetime, width: timedelta
) -> tuple[Bucket, ...]:
    """Every bucket of the period, those with nothing in them too."""
    found = {row["start"]: row for row in rows}
    first = since - (since - _ORIGIN) % width
    starts = [first + number * width for number in range(int((now - first) / width) + 1)]
    return tuple(Bucket(start, *_counted(found.get(start))) for start in starts)


_ORIGIN = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def _counted(row: Mapping[str, Any] | None) -> tuple[int, int, int]:
    return (row["decisions"], row["resumes"], row["parked"]) if row else (0, 0, 0)
