"""Whether what the receiver needs is there: its tables, the checkpointer's, and a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .db import Connection, Pool, is_transient
from .errors import DatabaseNotReady
from .migrate import check_migrated
from .telemetry import get_logger

__all__ = ["problems", "require"]

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


async def problems(pool: Pool, stall_seconds: float) -> list[str]:
    """Why nothing would be resumed now; empty if all is well."""
    try:
        async with pool.connection(timeout=2.0) as connection:
            await check_migrated(connection)
            cursor = await connection.execute(
                "select exists (select from procrastinate_workers where last_heartbeat"
                " > now() - make_interval(secs => %s)) as seen",
                (stall_seconds,),
            )
            row = await cursor.fetchone()
    except DatabaseNotReady as error:
        return [str(error)]
    except Exception as error:
        if is_transient(error):
            return ["the database does not answer"]
        raise
    return [] if row and row["seen"] else ["no worker is running: start `resumer worker`"]
