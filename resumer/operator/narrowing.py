"""Which pauses, as SQL: every question walks one index in the order in which rows are shown.

A page is the head of a merge of ordered walks, one for each state. What no index can narrow is
looked for among the newest `MOST_EXAMINED` pauses that an index finds, and no further; for a page,
which leads on to the next, among as many as take a moment.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from resumer.db import Connection
from resumer.model import State

from .views import Filter, Row

__all__ = [
    "FOR_A_PAGE",
    "MOST_EXAMINED",
    "ROW",
    "Key",
    "Narrowed",
    "is_storable",
    "narrowed",
    "row_of",
]

MOST_EXAMINED = 50_000
FOR_A_PAGE = 5_000

ROW = sql.SQL(
    "pause_id, state, outcome, decision, responder, agent_id, thread_id,"
    " coalesce(action ->> 'description', action ->> 'type') as description, attempts, reason_code,"
    " reason, created_at, asked_at, received_at, finished_at, next_attempt_at, expires_at,"
    " question -> 'recipients' as recipients"
)

_NEWEST_FIRST = sql.SQL("order by created_at desc, pause_id desc")
_SHOWS = sql.SQL(
    "strpos(lower(concat_ws(E'\\n', pause_id, agent_id, thread_id, decision, responder,"
    " coalesce(action ->> 'description', action ->> 'type'), reason_code, reason)),"
    " lower(%(text)s)) > 0"
)
_NAMED = (
    "select case"
    " when exists (select from pauses where pause_id = %(text)s) then 'pause_id'"
    " when exists (select from pauses where thread_id = %(text)s) then 'thread_id' end as name"
)
# The first of these that is asked for is narrowed by its index, the others by looking.
_INDEXED = ("pause_id", "thread_id", "reason_code", "agent_id")


@dataclass(frozen=True)
class Key:
    """Where a page ends: the next one has what is older than this pause."""

    created_at: datetime
    pause_id: str

    @property
    def cursor(self) -> str:
        """This place as a text for clients, who need not know what is in it."""
        said = json.dumps([self.created_at.isoformat(), self.pause_id])
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str) -> Key:
        """The place that `cursor` stands for. Raises `ValueError` for what is no cursor of ours."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            created_at, pause_id = json.loads(text)
            moment = datetime.fromisoformat(created_at)
        except (binascii.Error, ValueError, TypeError, RecursionError):
            moment, pause_id = None, None
        if moment is None or moment.tzinfo is None or not is_storable(pause_id):
            raise ValueError("the cursor is none of ours: take `next_cursor` as it was given")
        return cls(moment, pause_id)


@dataclass(frozen=True)
class Narrowed:
    """The pauses that are wanted, as conditions for each walk and what to look for among them.

    That is looked for among the newest `examined` that the walks find.
    """

    walks: tuple[sql.Composed, ...]
    looked_for: sql.Composed | None
    values: dict[str, Any]
    examined: int

    @property
    def is_cut(self) -> bool:
        """Whether no more than the newest `examined` that an index finds are looked at."""
        return self.looked_for is not None

    def newest(self, columns: sql.Composable, limit: int) -> tuple[sql.Composed, dict[str, Any]]:
        """The query for the newest of them, and its parameters."""
        if self.looked_for is None:
            return self._merged(columns, limit), self.values
        examined = self._merged(sql.SQL("*"), self.examined)
        query = sql.SQL("select {} from ({}) as examined where {} {} limit {}")
        parts = (columns, examined, self.looked_for, _NEWEST_FIRST, sql.Literal(limit))
        return query.format(*parts), self.values

    def last_examined(self) -> tuple[sql.Composed, dict[str, Any]]:
        """The query for the last pause that is looked at; no row if they all are."""
        merged = self._merged(sql.SQL("created_at, pause_id"), self.examined)
        query = sql.SQL("{} offset {}")
        return query.format(merged, sql.Literal(self.examined - 1)), self.values

    def _merged(self, columns: sql.Composable, limit: int) -> sql.Composed:
        # Each walk has the order and the limit, too: so the planner merges, and does not sort.
        # A literal limit, since it would plan for a tenth of the table where it is not told.
        end = sql.SQL("{} limit {}").format(_NEWEST_FIRST, sql.Literal(limit))
        walk = sql.SQL("(select * from pauses where {} {})")
        walks = sql.SQL(" union all ").join([walk.format(each, end) for each in self.walks])
        return sql.SQL("select {} from ({}) as merged {}").format(columns, walks, end)


async def narrowed(
    connection: Connection,
    wanted: Filter,
    after: Key | None = None,
    *,
    examined: int | None = None,
) -> Narrowed:
    """The pauses that are wanted and older than `after`, looked for among `MOST_EXAMINED` at most.

    A text that is the id of a pause or thread means just that, however old it is.
    """
    named = None
    if wanted.text:
        cursor = await connection.execute(_NAMED, {"text": wanted.text})
        row = await cursor.fetchone()
        named = row["name"] if row else None
    most = min(examined or MOST_EXAMINED, MOST_EXAMINED)
    return _narrowed(wanted, after, named, most)


def row_of(row: Mapping[str, Any]) -> Row:
    """A row of the database as operators are shown it."""
    recipients = tuple(row["recipients"] or ())
    return Row(**{**row, "state": State(row["state"]), "recipients": recipients})


def _narrowed(wanted: Filter, after: Key | None, named: str | None, examined: int) -> Narrowed:
    given = {name: getattr(wanted, name, None) for name in _INDEXED}
    looked_for: list[sql.Composable] = []
    if named and given[named] is None:
        given[named] = wanted.text
    elif wanted.text:
        looked_for.append(_SHOWS)
    narrowing = [name for name in _INDEXED if given[name] is not None]
    looked_for += map(_equals, narrowing[1:])
    conditions = [*map(_equals, narrowing[:1]), *_in_time(wanted, after)]
    walks = tuple(_walk(state, conditions) for state in dict.fromkeys(wanted.states or State))
    values = {
        **given,
        "text": wanted.text,
        "created_after": wanted.created_after,
        "created_before": wanted.created_before,
        "key_at": after and after.created_at,
        "key_id": after and after.pause_id,
    }
    found_by_looking = sql.SQL(" and ").join(looked_for) if looked_for else None
    return Narrowed(walks, found_by_looking, values, examined)


def _in_time(wanted: Filter, after: Key | None) -> list[sql.Composable]:
    conditions: list[sql.Composable] = []
    if wanted.created_after is not None:
        conditions.append(sql.SQL("created_at >= %(created_after)s"))
    before = wanted.created_before
    # Only the nearer of the two: given both, the index is walked from the later one on.
    if after is not None and (before is None or after.created_at < before):
        conditions.append(sql.SQL("(created_at, pause_id) < (%(key_at)s, %(key_id)s)"))
    elif before is not None:
        conditions.append(sql.SQL("created_at < %(created_before)s"))
    return conditions


def _walk(state: State, conditions: list[sql.Composable]) -> sql.Composed:
    of_state = sql.SQL("state = {}").format(sql.Literal(str(state)))
    return sql.SQL(" and ").join([of_state, *conditions])


def _equals(name: str) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))


def is_storable(text: object) -> bool:
    """Whether PostgreSQL takes this as text."""
    if not isinstance(text, str) or "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
