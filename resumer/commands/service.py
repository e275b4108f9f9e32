"""The database that an operator's command asks: reached and found ready, or told why it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from resumer.db import SCHEMA, connect, open_pool
from resumer.environment import EnvironmentReader
from resumer.errors import DatabaseNotReady
from resumer.migrate import check_migrated
from resumer.operator.acting import Acting
from resumer.operator.exporting import Exporting
from resumer.operator.reading import Reading
from resumer.settings import Settings

from .dev_env import environment

__all__ = ["PATIENCE", "Service", "ask", "reach"]

T = TypeVar("T")

PATIENCE = 5.0  # seconds
STALL_SECONDS = 30.0


@dataclass(frozen=True)
class Service:
    """What a command asks and does, over one database."""

    reading: Reading
    acting: Acting
    exporting: Exporting


def ask(
    database_url: str | None,
    question: Callable[[Service], Awaitable[T]],
    *,
    patience: float = PATIENCE,
) -> T:
    """The answer to a question, from the database given, else that of the environment.

    Raises `SettingsError`, and `DatabaseNotReady` if it does not answer within `patience` seconds,
    is not migrated, or goes away meanwhile.
    """
    env = environment()
    url, _ = Settings.database_urls(database_url, None, env)
    stall_seconds = EnvironmentReader(env).settings().get("stall_seconds", STALL_SECONDS)
    return asyncio.run(_ask(url, stall_seconds, question, patience))


async def reach(url: str, patience: float = PATIENCE) -> None:
    """Raise `DatabaseNotReady` unless there is an answer: a pool would try on and not say why."""
    try:
        async with asyncio.timeout(patience):
            await (await connect(url)).close()
    except TimeoutError as error:
        raise DatabaseNotReady("the database does not answer") from error


async def _ask(
    url: str, stall_seconds: float, question: Callable[[Service], Awaitable[T]], patience: float
) -> T:
    await reach(url, patience)
    try:
        async with open_pool(url, size=1, schema=SCHEMA, name="cli", patience=patience) as pool:
            async with pool.connection() as connection:
                await check_migrated(connection)
            reading = Reading(pool, stall_seconds)
            return await question(Service(reading, Acting(pool), Exporting(pool)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseNotReady(
            f"the database user may not do that ({error.diag.message_primary}): see "
            "deploy/grants.sql for the role that may"
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseNotReady(
            "the database went away, or took too long: try again, or ask for less"
        ) from error
