"""Whether what the receiver needs is there: its tables, the checkpointer's, and a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .db import Connection, Pool, is_transient
from .errors import DatabaseNotReady
from .migrate import check_migrated
from .telemetry import get_logger

__all__ = ["Readiness", "require"]

log = get_logger()


async def require(pool: Pool, check: Callable[[Connection], Awaitable[None]]) -> None:
    """Refuse a database that is not set up; one that is away for the moment is waited for."""
    try:
        async with pool.connection() as connection:
            await check(connection)
    except Exception as error:
        if isinstance(error, DatabaseNotReady) or not is_transient(error):
            raise
        log.error("database_away", error=str(error))


@dataclass(frozen=True)
class Readiness:
    """Why something would not be done now, part by part; each list is empty if all is well.

    `is_beating` says whether the worker of this process gives signs of life, if it has one.
    """

    pool: Pool
    stall_seconds: float
    is_beating: Callable[[], bool] | None = None

    async def receiving(self) -> list[str]:
        """Why no delivery would be recorded. Workers have no part in that."""
        return await self._asked(of_workers=False)

    async def whole(self) -> list[str]:
        """Why no thread would be resumed, by whatever process."""
        return await self._asked(of_workers=True)

    def working(self) -> list[str]:
        """Why this process would resume no thread."""
        if self.is_beating is not None and self.is_beating():
            return []
        return [f"this worker has given no sign of life for {self.stall_seconds:g} s"]

    async def _asked(self, *, of_workers: bool) -> list[str]:
        try:
            async with self.pool.connection(timeout=2.0) as connection:
                await check_migrated(connection)
                if await _is_read_only(connection):
                    return [_READ_ONLY]
                if not of_workers or await self._is_any_alive(connection):
                    return []
        except DatabaseNotReady as error:
            return [str(error)]
        except Exception as error:
            if is_transient(error):
                return ["the database does not answer"]
            raise
        return ["no worker is running: start `resumer worker`"]

    async def _is_any_alive(self, connection: Connection) -> bool:
        cursor = await connection.execute(
            "select exists (select from procrastinate_workers where last_heartbeat"
            " > now() - make_interval(secs => %s)) as seen",
            (self.stall_seconds,),
        )
        row = await cursor.fetchone()
        return bool(row and row["seen"])


_READ_ONLY = (
    "the database takes no writes, as a standby does: give the URL of the primary, or of all with "
    "target_session_attrs=read-write"
)


async def _is_read_only(connection: Connection) -> bool:
    cursor = await connection.execute(
        "select current_setting('transaction_read_only')::boolean as yes"
    )
    row = await cursor.fetchone()
    return bool(row and row["yes"])
