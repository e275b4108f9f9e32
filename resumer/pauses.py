"""Pause records and their state machine, over one table."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal

from psycopg import sql

from looppause_sdk.proof import Proof

from .db import Connection, Pool
from .groups import Groups
from .model import (
    AlreadyResumed,
    Failed,
    Outcome,
    Parked,
    PauseRecord,
    Place,
    Postponed,
    Receipt,
    Resumed,
    Standing,
    State,
)
from .question import question_columns
from .sql import statement
from .storable import storable, storable_json

__all__ = ["HELD", "Begun", "Pauses"]

HELD = "held"
Begun = Literal["begun", "busy", "held"]

_UNFINISHED = (State.ANSWERED, State.RESUMING, State.FAILED)


@dataclass(frozen=True)
class Pauses:
    """The pause records of one database."""

    pool: Pool

    async def record(self, proof: Proof, body: bytes, *, traceparent: str | None = None) -> Receipt:
        """Store a verified proof and enqueue its work; committed when this returns.

        `traceparent` is the span that a resume of it goes on with.
        """
        return await self._record(
            {
                "pause_id": proof.pause_id,
                "body": body,
                "fingerprint": proof.fingerprint,
                "decision": proof.decision,
                "authorization_type": proof.authorization_type or None,
                "responder": storable(proof.responder),
                "channel": proof.channel and storable(proof.channel),
                "responded_at": storable(proof.responded_at),
                "scheme": proof.scheme,
                "key_id": proof.key_id,
                "traceparent": traceparent,
            }
        )

    async def record_denial(self, pause_id: str, status: str) -> Receipt:
        """Store that a pause ended unanswered; it needs no signature, since it opens nothing."""
        body = json.dumps({"pause_id": pause_id, "status": status}).encode()
        nothing = (
            "authorization_type",
            "responder",
            "channel",
            "responded_at",
            "scheme",
            "key_id",
            "traceparent",
        )
        return await self._record(
            {
                "pause_id": pause_id,
                "body": body,
                "fingerprint": hashlib.sha256(body).digest(),
                "decision": status,
                **dict.fromkeys(nothing),
            }
        )

    async def _record(self, values: Mapping[str, Any]) -> Receipt:
        row = await self._recording.do({**values, "delivery_id": uuid.uuid4()})
        if row["accepted"]:
            return Receipt(values["pause_id"], "accepted")
        return Receipt(values["pause_id"], "duplicate" if row["same"] else "conflict")

    @cached_property
    def _recording(self) -> Groups[Connection, Mapping[str, Any], Mapping[str, Any]]:
        return Groups(self.pool.connection, _record_all, key=itemgetter("pause_id"))

    async def load(self, pause_id: str) -> PauseRecord | None:
        """The record of an answered pause, or None."""
        row = await self._one(
            "select pause_id, state, body, decision, received_at, attempts, started_at,"
            " thread_id, interrupt_id, reason_code, collected_at, responder, traceparent"
            " from pauses"
            " where pause_id = %s and body is not null",
            (pause_id,),
        )
        return PauseRecord(**{**row, "state": State(row["state"])}) if row else None

    async def standing(
        self, pause_ids: Sequence[str], *, only_answered: bool = False
    ) -> dict[str, Standing]:
        """Where these pauses stand; those without a record are left out."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select pause_id, state, body from pauses where pause_id = any(%(pause_ids)s)"
                " and (body is not null or not %(only_answered)s)",
                {"pause_ids": list(pause_ids), "only_answered": only_answered},
            )
            rows = await cursor.fetchall()
        return {row["pause_id"]: Standing(row["state"], row["body"]) for row in rows}

    async def note_collected(self, pause_id: str) -> None:
        """Note that a client that waited for the answer has taken it."""
        await self._do(statement("note_collected"), {"pause_id": pause_id})

    async def begin(self, pause_id: str, found: Place, *, stall_seconds: float) -> Begun:
        """Note that a resume of this interrupt is about to start, or say what stops it.

        `held` while its agent is; `busy` if the pause is finished, or a live worker is resuming
        another pause of the thread: the lock alone does not tell while that worker's lock
        connection is being replaced.
        """
        row = await self._one(
            statement("begin_resume"),
            {
                **_location(found),
                "pause_id": pause_id,
                **question_columns(found.question),
                "unfinished": [str(state) for state in _UNFINISHED],
                "stall_seconds": stall_seconds,
            },
        )
        if row is None:
            raise RuntimeError("begin_resume.sql returns one row")
        begun: Begun = row["begun"]
        return begun

    async def finish(
        self,
        pause_id: str,
        outcome: Outcome,
        found: Place | None,
        *,
        hook: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store how it ended, or why it has to wait; False if the pause has ended for good before.

        `hook` are the arguments of a job that tells of it, enqueued together with that.
        """
        columns = {**_location(found), **_columns(outcome)}
        raised = isinstance(outcome, Failed) or (
            isinstance(outcome, Parked) and outcome.error is not None
        )
        assignments = [
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in columns
        ]
        row = await self._one(
            sql.SQL(statement("finish")).format(assignments=sql.SQL(", ").join(assignments)),
            {
                **columns,
                **_event(outcome),
                **question_columns(found.question if found else None),
                "raised": int(raised),
                "retry_in": getattr(outcome, "retry_in", None),
                "finished": isinstance(outcome, (Resumed, AlreadyResumed)),
                "hook": storable_json(hook) if hook else None,
                "pause_id": pause_id,
            },
        )
        return row is not None

    async def listed(self, state: State | None, *, limit: int) -> list[dict[str, Any]]:
        """Pauses, the latest first, for people to read: no proof, no personal data."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select pause_id, state, outcome, decision, agent_id, thread_id, attempts,"
                " reason_code, reason, next_attempt_at, received_at, asked_at, expires_at"
                " from pauses where %(state)s::text is null or state = %(state)s"
                " order by coalesce(received_at, created_at) desc limit %(limit)s",
                {"state": state, "limit": limit},
            )
            return await cursor.fetchall()

    async def _do(self, query: Any, parameters: Mapping[str, Any]) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(query, parameters)

    async def _one(
        self, query: Any, parameters: Mapping[str, Any] | Sequence[Any]
    ) -> dict[str, Any] | None:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchone()


async def _record_all(
    connection: Connection, proofs: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    columns = {name: [proof[name] for proof in proofs] for name in proofs[0]}
    cursor = await connection.execute(statement("record_proofs"), columns)
    rows = {row["pause_id"]: row for row in await cursor.fetchall()}
    return [rows[proof["pause_id"]] for proof in proofs]


def _columns(outcome: Outcome) -> dict[str, Any]:
    """What an outcome changes in the record; what it does not name stays."""
    match outcome:
        case Resumed(next_pauses):
            return {**_ended("resumed"), "next_pauses": list(next_pauses)}
        case AlreadyResumed(reason):
            return {**_ended("already_resumed"), "reason": storable(reason)}
        case Failed(reason, error):
            why = {"reason_code": "raised", "reason": storable(reason), "error": storable(error)}
            return {"state": "failed", "outcome": "failed", **why}
        case Parked(code, reason, error):
            why = {"reason_code": code, "reason": storable(reason)}
            kept = {} if error is None else {"error": storable(error)}
            return {"state": "parked", "outcome": "parked", **why, **kept}
        case Postponed(code, reason):
            return {"reason_code": code, "reason": storable(reason)}


def _event(outcome: Outcome) -> dict[str, Any]:
    """What is told of an outcome. `code` is given where it is told only when it is another."""
    match outcome:
        case Resumed(next_pauses):
            return _told("resumed", next_pauses=list(next_pauses))
        case AlreadyResumed(reason):
            return _told("already_resumed", reason=reason)
        case Failed(reason, _, retry_in):
            return _told("failed", reason=reason, retry_in=round(retry_in, 1))
        case Parked(code, reason):
            return _told("parked", code=code, reason=reason)
        case Postponed(code, reason):
            name = "held" if code == HELD else "postponed"
            return {**_told(name, code=code, reason=reason), "code": code}


def _told(event: str, **detail: Any) -> dict[str, Any]:
    return {"event": event, "detail": storable_json(detail) or "{}", "code": None}


def _ended(outcome: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("reason_code", "reason", "error"))
    return {"state": "resumed", "outcome": outcome, **nothing}


def _location(found: Place | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "thread_id": found.thread_id,
        "interrupt_id": found.interrupt_id,
        "agent_id": found.agent_id,
        "checkpoint_id": found.checkpoint_id,
        "checkpoint_ns": found.checkpoint_ns,
    }
