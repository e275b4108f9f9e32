"""Look into the attacked database, and hold a process at a point of `world.sql`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

__all__ = ["Blocked", "Database", "Hold"]

REACHED_SECONDS = 20.0
OURS = "harness"

_HOLD: LiteralString = (
    "select pg_advisory_lock(x'46415554'::integer,"
    " hashtext(%(point)s || ':' || %(name)s) & x'7fffffff'::integer)"
)
_BLOCKED: LiteralString = (
    "select activity.pid as backend, application_name as process"
    " from pg_locks join pg_stat_activity as activity using (pid)"
    " where locktype = 'advisory' and not granted and datname = current_database()"
    " and classid = x'46415554'::bigint::oid and objsubid = 2 and objid ="
    " (hashtext(%(point)s || ':' || %(name)s) & x'7fffffff'::integer)::bigint::oid"
)
_LOCK_HOLDERS: LiteralString = (
    "select activity.pid as backend, application_name as process"
    " from pg_locks join pg_stat_activity as activity using (pid)"
    " where locktype = 'advisory' and granted and datname = current_database()"
    " and classid = x'4C50'::bigint::oid and objsubid = 2 and objid = %(key)s::bigint::oid"
)


@dataclass(frozen=True)
class Blocked:
    """A session that stands at a held point: its server process and its replica's name."""

    backend: int
    process: str


@dataclass(frozen=True)
class Database:
    """The attacked database, seen from outside; every call is a session of its own."""

    url: str

    async def rows(
        self, query: LiteralString, parameters: Mapping[str, Any] | Sequence[Any] = ()
    ) -> list[dict[str, Any]]:
        """Run one statement and return its rows, none for one that has none."""
        async with await self.connect() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def value(
        self, query: LiteralString, parameters: Mapping[str, Any] | Sequence[Any] = ()
    ) -> Any:
        """The only value of the only row."""
        (row,) = await self.rows(query, parameters)
        (value,) = row.values()
        return value

    async def connect(self) -> psycopg.AsyncConnection[dict[str, Any]]:
        """A session that no fault of ours is aimed at."""
        return await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, row_factory=dict_row, application_name=OURS
        )

    async def terminate(self, backend: int) -> None:
        """pg_terminate_backend, and see that the session is gone."""
        assert await self.value("select pg_terminate_backend(%s)", (backend,))
        gone: LiteralString = "select not exists (select from pg_stat_activity where pid = %s)"
        async with asyncio.timeout(10):
            while not await self.value(gone, (backend,)):
                await asyncio.sleep(0.01)

    async def lock_holders(self, thread_id: str) -> list[Blocked]:
        """Who holds the lock of this thread now."""
        key = int.from_bytes(hashlib.sha256(thread_id.encode()).digest()[:4], "big")
        return [Blocked(**row) for row in await self.rows(_LOCK_HOLDERS, {"key": key})]

    async def sessions(self) -> list[Blocked]:
        """Every session of a replica."""
        rows = await self.rows(
            "select pid as backend, application_name as process from pg_stat_activity"
            " where datname = current_database() and application_name <> %s"
            " and backend_type = 'client backend' and pid <> pg_backend_pid()",
            (OURS,),
        )
        return [Blocked(**row) for row in rows]

    @asynccontextmanager
    async def hold(self, point: str, name: str) -> AsyncIterator[Hold]:
        """Whoever comes to this point for this thread or pause stays there until released."""
        connection = await self.connect()
        held = Hold(self, point, name, connection)
        try:
            await connection.execute(_HOLD, {"point": point, "name": name})
            yield held
        finally:
            await held.release()


@dataclass(frozen=True)
class Hold:
    """A point that is held."""

    database: Database
    point: str
    name: str
    connection: psycopg.AsyncConnection[dict[str, Any]]

    async def blocked(self) -> list[Blocked]:
        """Who stands there now."""
        names = {"point": self.point, "name": self.name}
        return [Blocked(**row) for row in await self.database.rows(_BLOCKED, names)]

    async def reached(self, *, within: float = REACHED_SECONDS) -> Blocked:
        """Wait until somebody stands there. Raises `TimeoutError` if nobody comes."""
        try:
            async with asyncio.timeout(within):
                while not (found := await self.blocked()):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"nobody came to {self.point} of {self.name}") from None
        return found[0]

    async def release(self) -> None:
        """Let them go on."""
        with suppress(psycopg.Error):
            await self.connection.close()
