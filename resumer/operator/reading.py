"""What the database says of pauses, workers and agents, as the values of `views`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import sql

from resumer.db import Connection, Pool

from .facts import Surroundings
from .glance import glance, part
from .narrowing import FOR_A_PAGE, ROW, Key, Narrowed, narrowed, row_of
from .views import Busy, Conflict, Detail, Event, Filter, Held, Overview, Page, Row, Worker

__all__ = ["MOST_ROWS", "Reading"]

MOST_ROWS = 500
MOST_EVENTS = 500
MOST_SIBLINGS = 100
LONGEST_QUESTION = "10s"

_ID = sql.SQL("pause_id")
_DETAIL = sql.SQL(
    "{}, coalesce(question -> 'action', action::json) as action, body, authorization_type,"
    " responded_at, channel, scheme, key_id, deliveries, last_delivery_at,"
    " started_at, interrupt_id, checkpoint_id, checkpoint_ns, error, next_pauses"
).format(ROW)


@dataclass(frozen=True)
class Reading:
    """Questions about one database. `stall_seconds` of silence make a worker count as dead.

    All raise what the database raises when it is away; none holds up what is being resumed.
    """

    pool: Pool
    stall_seconds: float = 30.0

    async def overview(self, *, now: datetime, hours: int = 24) -> Overview:
        """Everything at a glance, with what happened in the last `hours`."""
        async with self._asking() as connection:
            return await glance(connection, now, hours, self.stall_seconds)

    async def page(self, wanted: Filter, *, cursor: str | None = None, limit: int = 50) -> Page:
        """The newest of the pauses that are wanted, after `cursor` the next older ones.

        `limit` is at most `MOST_ROWS`. A page may hold fewer, even none, and lead on all the same:
        a text is looked for in so many pauses at a time. Raises `ValueError` for a cursor that is
        none of ours.
        """
        limit = max(1, min(limit, MOST_ROWS))
        after = Key.of(cursor) if cursor else None
        async with self._asking() as connection:
            found = await narrowed(connection, wanted, after, examined=FOR_A_PAGE)
            rows = await _rows(connection, *found.newest(ROW, limit + 1))
            shown = tuple(map(row_of, rows[:limit]))
            if len(rows) > limit:
                return Page(shown, Key(shown[-1].created_at, shown[-1].pause_id).cursor)
            return Page(shown, await _cut(connection, found))

    async def count(self, wanted: Filter, *, most: int = 10_000) -> int:
        """How many are wanted, counted up to `most`."""
        async with self._asking() as connection:
            found = await narrowed(connection, wanted)
            query, values = found.newest(_ID, most)
            counted = sql.SQL("select count(*) as found from ({}) as wanted").format(query)
            [row] = await _rows(connection, counted, values)
        return int(row["found"])

    async def detail(self, pause_id: str) -> Detail | None:
        """Everything known of one pause; None if nothing is."""
        query = sql.SQL("select {} from pauses where pause_id = %(pause_id)s").format(_DETAIL)
        values = {"pause_id": pause_id, "events": MOST_EVENTS}
        async with self._asking() as connection:
            found = await _rows(connection, query, values)
            if not found:
                return None
            [row] = found
            events = await _rows(connection, _EVENTS, values)
            conflicts = await _rows(connection, _CONFLICTS, values)
            siblings = await _siblings(connection, row)
        return _detail(row, events, conflicts, siblings)

    async def pruned_on(self, pause_id: str) -> date | None:
        """The day on which a pause was pruned that ended before; None if it was not."""
        query = sql.SQL(
            "select pruned_on from pruned where digest = pause_digest(%(pause_id)s::text)"
        )
        async with self._asking() as connection:
            rows = await _rows(connection, query, {"pause_id": pause_id})
        return rows[0]["pruned_on"] if rows else None

    async def surroundings(self) -> Surroundings:
        """What else an explanation takes: who works, what is held, what is due."""
        async with self._asking() as connection:
            workers = await part(connection, "workers", {"stall_seconds": self.stall_seconds})
            held = await part(connection, "held", {})
            [queue] = await part(connection, "queue", {})
        return Surroundings(
            tuple(Worker(**row) for row in workers),
            tuple(Held(**row) for row in held),
            queue["queued"],
        )

    async def agents(self) -> Mapping[str, Busy]:
        """Every agent that has asked or works, and how busy it is."""
        async with self._asking() as connection:
            asked = await part(connection, "agents", {})
            busy = await part(connection, "busy", {})
        names = {row["agent_id"]: Busy() for row in asked}
        return names | {row.pop("agent_id"): Busy(**row) for row in busy}

    async def holds(self) -> tuple[Held, ...]:
        """Every agent that is held, with how many of its threads still run."""
        async with self._asking() as connection:
            return tuple(Held(**row) for row in await part(connection, "held", {}))

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Connection]:
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute("set transaction read only")
            await connection.execute(_SOON)
            yield connection


_SOON = sql.SQL("set local statement_timeout = {}").format(sql.Literal(LONGEST_QUESTION))
_EVENTS = sql.SQL(
    "select at, event as name, detail from ("
    "select * from events where pause_id = %(pause_id)s order by id desc limit %(events)s"
    ") as latest order by id"
)
_CONFLICTS = sql.SQL(
    "select decision, responder, received_at, deliveries, body from conflicts"
    " where pause_id = %(pause_id)s order by received_at limit 100"
)


async def _cut(connection: Connection, found: Narrowed) -> str | None:
    """Where to go on looking, if there are pauses that were not looked at."""
    if not found.is_cut:
        return None
    rows = await _rows(connection, *found.last_examined())
    return Key(**rows[0]).cursor if rows else None


async def _siblings(connection: Connection, row: Mapping[str, Any]) -> Sequence[Row]:
    if row["thread_id"] is None:
        return ()
    query = sql.SQL(
        "select {} from pauses where thread_id = %(thread_id)s and pause_id <> %(pause_id)s"
        " order by created_at desc, pause_id desc limit %(most)s"
    ).format(ROW)
    values = {"thread_id": row["thread_id"], "pause_id": row["pause_id"], "most": MOST_SIBLINGS}
    return [row_of(other) for other in await _rows(connection, query, values)]


def _detail(
    row: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    conflicts: Sequence[Mapping[str, Any]],
    siblings: Sequence[Row],
) -> Detail:
    rest = dict(row)
    shown = {name: rest.pop(name) for name in Row.__dataclass_fields__}
    body = rest.pop("body")
    said = _said(body)
    return Detail(
        **{**rest, "next_pauses": tuple(rest["next_pauses"])},
        row=row_of(shown),
        proof=_text(body),
        comment=said.get("comment") if isinstance(said.get("comment"), str) else None,
        fields=said.get("fields") if isinstance(said.get("fields"), dict) else None,
        events=tuple(Event(**event) for event in events),
        conflicts=tuple(
            Conflict(**{**conflict, "body": _text(conflict["body"]) or ""})
            for conflict in conflicts
        ),
        siblings=tuple(siblings),
    )


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")


def _said(body: bytes | None) -> Mapping[str, Any]:
    """The members of an answer that was verified when it came: for Ed25519 the signed ones."""
    try:
        members = json.loads(body or b"{}")
        signed = members.get("canonical_payload")
        members = json.loads(signed) if isinstance(signed, str) else members
    except (ValueError, AttributeError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


async def _rows(
    connection: Connection, query: sql.SQL | sql.Composed, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    cursor = await connection.execute(query, values)
    return await cursor.fetchall()
