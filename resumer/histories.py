"""What threads have been through: all of it but the latest checkpoint can go, once they settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from .db import Pool
from .locks import ThreadLocks
from .model import checkpoint_id_at
from .sql import statement

__all__ = ["Histories", "Left", "Shortened"]

PAGE = 500
LOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Shortened:
    """A thread whose history went: so many checkpoints, of which one for each namespace is left."""

    thread_id: str
    checkpoints: int


@dataclass(frozen=True)
class Left:
    """A thread that was left as it is, and why."""

    thread_id: str
    code: Literal["unknown", "waits", "busy", "delta", "changed"]
    reason: str


@dataclass(frozen=True)
class Histories:
    """The histories of the threads of one checkpointer. `pool` has our own records."""

    pool: Pool
    checkpoints: Pool
    locks: ThreadLocks

    async def settled_before(self, moment: datetime) -> AsyncIterator[str]:
        """Threads that have done nothing since, and have a history; some of them may wait."""
        after, last = "", checkpoint_id_at(moment)
        while True:
            async with self.checkpoints.connection() as connection:
                cursor = await connection.execute(
                    statement("retention/histories"), {"after": after, "limit": PAGE}
                )
                page = await cursor.fetchall()
            for row in page:
                if row["newest"] < last and row["checkpoints"] > row["namespaces"]:
                    yield row["thread_id"]
            if len(page) < PAGE:
                return
            after = page[-1]["thread_id"]

    async def keep_latest(self, thread_id: str, *, dry_run: bool = False) -> Shortened | Left:
        """Delete what came before the thread's latest checkpoint, unless the thread waits.

        It is looked at, and done, with the lock that whoever resumes the thread holds. With
        `dry_run` nothing is done.
        """
        async with self.locks.hold(thread_id, patience=LOCK_SECONDS) as held:
            if not held:
                return Left(thread_id, "busy", "it is being resumed just now")
            before = await self._stands(thread_id)
            if left := await self._unsettled(thread_id, before):
                return left
            if dry_run:
                return Shortened(thread_id, before["checkpoints"] - before["namespaces"])
            if left := await self._prune(thread_id):
                return left
            after = await self._stands(thread_id)
            return Shortened(thread_id, before["checkpoints"] - after["checkpoints"])

    async def told(self, by: str, threads: int, checkpoints: int) -> None:
        """Note in the audit that histories went."""
        target = "1 thread" if threads == 1 else f"{threads} threads"
        async with self.pool.connection() as connection:
            await connection.execute(
                "insert into audit (who, action, target, detail)"
                " values (%s, 'threads_pruned', %s, %s)",
                (by, target, Jsonb({"checkpoints": checkpoints})),
            )

    async def _unsettled(self, thread_id: str, stands: Mapping[str, Any]) -> Left | None:
        if pause := await self._unended(thread_id):
            return Left(thread_id, "waits", f"its pause {pause} has not ended")
        if stands["waits"]:
            return Left(thread_id, "waits", "it hibernates at a gate")
        if not stands["checkpoints"]:
            return Left(thread_id, "unknown", "the checkpointer has no such thread")
        return None

    async def _unended(self, thread_id: str) -> str | None:
        """A pause of this thread that something has to happen to yet."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select pause_id from pauses where thread_id = %s"
                " and state not in ('resumed', 'discarded') limit 1",
                (thread_id,),
            )
            row = await cursor.fetchone()
        return row["pause_id"] if row else None

    async def _stands(self, thread_id: str) -> dict[str, Any]:
        async with self.checkpoints.connection() as connection:
            cursor = await connection.execute(
                statement("retention/thread_stands"), {"thread_id": thread_id}
            )
            row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("thread_stands.sql returns one row")
        return row

    async def _prune(self, thread_id: str) -> Left | None:
        # LangGraph takes half a second to import, and `resumer --help` imports this.
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415 - as above

        try:
            await AsyncPostgresSaver(self.checkpoints).aprune([thread_id], strategy="keep_latest")
        except NotImplementedError:
            why = "its graph has a DeltaChannel, whose values are in the history"
            return Left(thread_id, "delta", why)
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            return Left(thread_id, "changed", "a run has changed it meanwhile: try again")
        async with self.checkpoints.connection() as connection:
            await connection.execute(statement("retention/forget_notes"), {"thread_id": thread_id})
        return None
