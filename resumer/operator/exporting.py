"""The whole record of each pause, for whoever checks afterwards who decided what, and what came.

The signed bytes are given as they were received, so that `resumer verify` can check them again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from psycopg import sql

from resumer.db import Connection, Pool
from resumer.model import utc_now
from resumer.sql import statement

from .facts import EVERY_AGENT
from .narrowing import Key, narrowed
from .views import Filter

__all__ = ["Exporting"]

AT_ONCE = 100  # each may hold a proof of 256 KiB
LONGEST_QUESTION = "60s"

Record = dict[str, Any]


@dataclass(frozen=True)
class Exporting:
    """Reads one database from end to end, in pieces: however much it holds, memory stays small."""

    pool: Pool

    async def pauses(self, wanted: Filter) -> AsyncIterator[Record]:
        """Every pause that is wanted, the newest first, with all that is known of it.

        What is first seen after the beginning is left out. No transaction lasts longer than a
        piece, so that nothing is held up.
        """
        after: Key | None = None
        while True:
            page = await self._piece(wanted, after)
            for record in page:
                yield record
            if len(page) < AT_ONCE:
                return
            after = Key(page[-1]["created_at"], page[-1]["pause_id"])

    async def _piece(self, wanted: Filter, after: Key | None) -> list[Record]:
        async with self._asking() as connection:
            found = await narrowed(connection, wanted, after)
            cursor = await connection.execute(*found.newest(_COLUMNS, AT_ONCE))
            return await _records(connection, await cursor.fetchall())

    async def named(self, connection: Connection, pause_ids: Sequence[str]) -> list[Record]:
        """These pauses, as `pauses` gives them, in a transaction of the caller's."""
        return await _records(connection, await _rows(connection, _NAMED, {"pause_ids": pause_ids}))

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Connection]:
        """One snapshot, so that a pause and what is told of it agree."""
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute("set transaction isolation level repeatable read, read only")
            await connection.execute(_SOON)
            yield connection


_COLUMNS = sql.SQL(
    "pause_id, decision, body, state, outcome, scheme, key_id, deliveries, received_at,"
    " last_delivery_at, agent_id, thread_id, interrupt_id, checkpoint_id, checkpoint_ns,"
    " coalesce(question -> 'action', action::json) as action,"
    " question -> 'recipients' as recipients,"
    " created_at, asked_at, expires_at, started_at, finished_at, next_attempt_at, attempts,"
    " reason_code, reason, error, next_pauses"
)
_NAMED = sql.SQL(
    "select {} from pauses where pause_id = any(%(pause_ids)s) order by finished_at, pause_id"
).format(_COLUMNS)
_SOON = sql.SQL("set local statement_timeout = {}").format(sql.Literal(LONGEST_QUESTION))
_EVENTS = (
    "select pause_id, at, event, detail from events where pause_id = any(%(pause_ids)s) order by id"
)
_CONFLICTS = (
    "select pause_id, decision, responder, received_at, last_delivery_at, deliveries, body"
    " from conflicts where pause_id = any(%(pause_ids)s) order by received_at"
)


async def _records(connection: Connection, rows: Sequence[Record]) -> list[Record]:
    """These rows, with what is told elsewhere of each pause."""
    named = {"pause_ids": [row["pause_id"] for row in rows]}
    agents = {row["agent_id"] for row in rows if row["agent_id"]}
    events = _by_pause(await _rows(connection, _EVENTS, named))
    conflicts = _by_pause(await _rows(connection, _CONFLICTS, named))
    done = {**named, "targets": [*named["pause_ids"], *agents, EVERY_AGENT]}
    acts = _Acts.of(await _rows(connection, statement("operator/acts"), done))
    return [
        {
            **_record(row),
            "conflicts": list(map(_conflict, conflicts[row["pause_id"]])),
            "events": events[row["pause_id"]],
            "acts": acts.on(row),
        }
        for row in rows
    ]


async def _rows(connection: Connection, query: Any, values: Mapping[str, Any]) -> list[Record]:
    cursor = await connection.execute(query, values)
    return await cursor.fetchall()


def _by_pause(rows: Sequence[Record]) -> Mapping[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for row in rows:
        found[row.pop("pause_id")].append(row)
    return found


def _record(row: Mapping[str, Any]) -> Record:
    rest = dict(row)
    said = {name: rest.pop(name) for name in ("pause_id", "decision")}
    return {**said, "proof": _signed_text(rest.pop("body")), **rest}


def _conflict(row: Mapping[str, Any]) -> Record:
    rest = dict(row)
    proof = _signed_text(rest.pop("body"))
    return {**rest, "proof": proof}


def _signed_text(body: bytes | None) -> str | None:
    """What was received; the verifier lets in nothing but UTF-8, so nothing changes."""
    return None if body is None else body.decode("utf-8")


@dataclass(frozen=True)
class _Acts:
    """Acts by the pause that each is about; holds and releases by their agent. In order."""

    on_pauses: Mapping[str, list[Record]]
    on_agents: Mapping[str, list[Record]]

    @classmethod
    def of(cls, rows: Sequence[Record]) -> _Acts:
        on_pauses: dict[str, list[Record]] = defaultdict(list)
        on_agents: dict[str, list[Record]] = defaultdict(list)
        for act in rows:
            told = {name: act[name] for name in ("at", "who", "action", "target", "detail")}
            if act["action"] in _HOLDING:
                on_agents[act["target"]].append(told)
                continue
            for pause_id in {act["target"], *(act["pause_ids"] or ())}:
                on_pauses[pause_id].append(told)
        return cls(on_pauses, on_agents)

    def on(self, row: Mapping[str, Any]) -> list[Record]:
        """Those on the pause itself, and the holds that its thread had to wait for."""
        found = [*self.on_pauses.get(row["pause_id"], ()), *self._holds_on(row)]
        return sorted(found, key=_at)

    def _holds_on(self, row: Mapping[str, Any]) -> Iterator[Record]:
        """Holds and releases while it was open, and a hold that was on when it began."""
        begun = min(row["asked_at"] or row["created_at"], row["created_at"])
        ended = row["finished_at"] or utc_now()
        for agent_id in filter(None, (row["agent_id"], EVERY_AGENT)):
            acts = self.on_agents.get(agent_id, [])
            first = bisect_left(acts, begun, key=_at)
            if first and acts[first - 1]["action"] == "held":
                yield acts[first - 1]
            yield from acts[first : bisect_right(acts, ended, key=_at)]


_HOLDING = ("held", "released")
_at = itemgetter("at")
