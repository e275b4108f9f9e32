"""What an operator does: each act and its audit row are one transaction, and safe to repeat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from resumer.db import Connection, Pool
from resumer.errors import ResumerError
from resumer.model import State
from resumer.sql import statement
from resumer.telemetry import get_logger

from .facts import EVERY_AGENT
from .narrowing import narrowed
from .views import AuditEntry, Filter

__all__ = ["EVERY_AGENT", "RETRIABLE", "Acting", "NotPossible", "UnknownPause", "said_of"]

RETRIABLE = (State.PARKED, State.FAILED)
BATCH = 500

log = get_logger()


class NotPossible(ResumerError):
    """The act cannot be done to this pause; the message says why, and what can."""


class UnknownPause(NotPossible):
    """No pause of this id has been seen."""


@dataclass(frozen=True)
class Acting:
    """Acts on one database. `by` is the name that the audit gives to who acts."""

    pool: Pool

    async def retry(self, pause_ids: Sequence[str], *, by: str) -> list[str]:
        """Take parked or failed pauses up again, at once, from the start of the retry policy.

        Returns those that were; any others are left as they are.
        """
        return await self._retry(pause_ids, by, {})

    async def retry_one(self, pause_id: str, *, by: str) -> bool:
        """As `retry`, for one: false if it is on its way already.

        Raises `UnknownPause`, and `NotPossible` for a pause that there is nothing to retry of.
        """
        if await self.retry([pause_id], by=by):
            return True
        async with self.pool.connection() as connection:
            state = await _state_of(connection, pause_id)
        if why := _NO_RETRY.get(state):
            raise NotPossible(f"the pause is {state}: {why}")
        return False

    async def retry_matching(
        self, wanted: Filter, *, by: str, dry_run: bool, most: int = 10_000
    ) -> list[str]:
        """Retry whatever is wanted and parked or failed, the newest `most`; return them.

        With `dry_run` nothing is done, and those are returned that would be. It is done in
        batches, each with its audit row: cut off, it can be called again.
        """
        pause_ids = await self._retriable(wanted, most)
        if dry_run:
            return pause_ids
        retried: list[str] = []
        for start in range(0, len(pause_ids), BATCH):
            batch = pause_ids[start : start + BATCH]
            retried += await self._retry(batch, by, {"filter": said_of(wanted)})
        return retried

    async def discard(self, pause_id: str, *, by: str, reason: str | None = None) -> bool:
        """Decide that nothing more is done about a parked or failed pause; its proof is kept.

        False if it was discarded before. Raises `UnknownPause`, and `NotPossible` for a pause
        that has something coming to it, or is resumed.
        """
        said = {"reason": reason} if reason else {}
        values = {"pause_id": pause_id, "detail": Jsonb({"by": by, **said})}
        async with self._acting() as connection:
            if await _rows(connection, "discard", values):
                await _audit(connection, by, "discarded", pause_id, said)
                log.info("discarded", pause_id=pause_id, by=by)
                return True
            state = await _state_of(connection, pause_id)
        if state is State.DISCARDED:
            return False
        raise NotPossible(f"the pause is {state}: {_NO_DISCARD[state]}")

    async def hold(self, agent_id: str, *, by: str, reason: str | None = None) -> bool:
        """Resume nothing of this agent until it is released; `*` holds all of them.

        What runs goes on to its end or its next gate; answers are taken as ever. False if it was
        held already, which keeps the first reason.
        """
        values = {"agent_id": agent_id, "held_by": by, "reason": reason}
        async with self._acting() as connection:
            cursor = await connection.execute(
                "insert into holds (agent_id, held_by, reason)"
                " values (%(agent_id)s, %(held_by)s, %(reason)s)"
                " on conflict do nothing returning agent_id",
                values,
            )
            is_new = await cursor.fetchone() is not None
            if is_new:
                await _audit(connection, by, "held", agent_id, {"reason": reason} if reason else {})
                log.info("held", agent_id=agent_id, by=by)
        return is_new

    async def release(self, agent_id: str, *, by: str) -> bool:
        """Let this agent's threads go on, those that had to wait at once.

        False if it was not held. `*` ends the hold on all agents, not those of single ones.
        """
        async with self._acting() as connection:
            rows = await _rows(connection, "release", {"agent_id": agent_id})
            if rows:
                await _audit(connection, by, "released", agent_id, {"waiting": rows[0]["waiting"]})
                log.info("released", agent_id=agent_id, by=by)
        return bool(rows)

    async def audit(self, *, limit: int = 100) -> list[AuditEntry]:
        """The latest acts, the last one first."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select at, who, action, target, detail from audit order by id desc limit %s",
                (limit,),
            )
            return [AuditEntry(**row) for row in await cursor.fetchall()]

    async def _retry(
        self, pause_ids: Sequence[str], by: str, detail: Mapping[str, Any]
    ) -> list[str]:
        values = {
            "pause_ids": list(pause_ids),
            "event": "retried",
            "detail": Jsonb({"by": by}),
        }
        async with self._acting() as connection:
            retried = [row["pause_id"] for row in await _rows(connection, "retry", values)]
            if retried:
                target = retried[0] if len(retried) == 1 else f"{len(retried)} pauses"
                named = {**detail, "pause_ids": retried}
                await _audit(connection, by, "retried", target, named)
                log.info("retried", pauses=len(retried), by=by)
        return retried

    async def _retriable(self, wanted: Filter, most: int) -> list[str]:
        states = tuple(s for s in wanted.states or RETRIABLE if s in RETRIABLE)
        if not states:
            return []
        async with self.pool.connection() as connection:
            found = await narrowed(connection, replace(wanted, states=states))
            cursor = await connection.execute(*found.newest(sql.SQL("pause_id"), most))
            return [row["pause_id"] for row in await cursor.fetchall()]

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[Connection]:
        try:
            async with self.pool.connection() as connection, connection.transaction():
                yield connection
        except errors.InsufficientPrivilege as error:
            raise NotPossible(
                "the database user of this process may look and not act: it has to be in the role "
                "resumer_operator, see deploy/grants.sql"
            ) from error


def said_of(wanted: Filter) -> dict[str, Any]:
    """What narrows, as JSON: for the audit, and for an answer to who asked."""
    said: dict[str, Any] = {"state": [str(state) for state in wanted.states]}
    for name in ("agent_id", "thread_id", "reason_code", "text"):
        said[name] = getattr(wanted, name)
    for name in ("created_after", "created_before"):
        moment = getattr(wanted, name)
        said[name] = moment and moment.isoformat()
    return {name: value for name, value in said.items() if value}


async def _state_of(connection: Connection, pause_id: str) -> State:
    cursor = await connection.execute("select state from pauses where pause_id = %s", (pause_id,))
    row = await cursor.fetchone()
    if row is None:
        raise UnknownPause(f"no pause {pause_id!r} has been seen here")
    return State(row["state"])


async def _audit(
    connection: Connection, who: str, action: str, target: str, detail: Mapping[str, Any]
) -> None:
    await connection.execute(
        "insert into audit (who, action, target, detail) values (%s, %s, %s, %s)",
        (who, action, target, Jsonb(detail)),
    )


async def _rows(
    connection: Connection, name: str, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    cursor = await connection.execute(statement(name), values)
    return await cursor.fetchall()


_NO_RETRY = {
    State.WAITING: "there is no answer to resume it with",
    State.RESUMED: "its thread has gone on",
    State.DISCARDED: "somebody decided that nothing more is done about it",
}
_NO_DISCARD = {
    State.WAITING: "nobody has answered yet, and it ends by itself when its time is up",
    State.ANSWERED: "it is about to be resumed; hold its agent if it must not be",
    State.RESUMING: "it is being resumed now; look again when that has ended",
    State.RESUMED: "its thread has gone on, and there is nothing left to discard",
}
