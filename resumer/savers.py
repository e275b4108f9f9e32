"""The savers that graphs run with here: LangGraph's own, or the kind that a host hands in."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg_pool import AsyncConnectionPool

from looppause_sdk.pause_index import PauseIndexMixin

from .db import Connection, Pool
from .errors import SettingsError
from .settings import Settings

__all__ = ["HostsOwn", "create_checkpoint_tables", "saver_over"]

T = TypeVar("T")

ONE_CONNECTION = (
    "checkpointer has a single connection, on which two runs would get into each other's "
    "transactions: make it over a pool, AsyncPostgresSaver(AsyncConnectionPool(...))"
)


class _NotingSaver(PauseIndexMixin, AsyncPostgresSaver):
    """Notes the next gate of a thread whose checkpoints SQL cannot read."""


@dataclass(frozen=True)
class HostsOwn:
    """What the host hands in for the checkpointer's side, if it does; it all stays the host's."""

    pool: Pool | None = None
    saver: AsyncPostgresSaver | None = None

    @classmethod
    def of(cls, settings: Settings) -> HostsOwn:
        """What the settings hold, once the host has started. Raises `SettingsError`."""
        saver = _now(settings.checkpointer)
        pool = _now(settings.checkpoint_pool)
        if saver is not None and pool is not None:
            raise SettingsError(
                ["checkpointer and checkpoint_pool: give one, a saver has its pool"]
            )
        if saver is None:
            return cls(_checked_pool("checkpoint_pool", pool))
        if not isinstance(saver, AsyncPostgresSaver):
            found = type(saver).__name__
            raise SettingsError([f"checkpointer is a {found}: give an AsyncPostgresSaver"])
        if not isinstance(saver.conn, AsyncConnectionPool):
            raise SettingsError([ONE_CONNECTION])
        return cls(_checked_pool("checkpointer", saver.conn), saver)

    def serializer(self, settings: Settings) -> SerializerProtocol | None:
        """The one that is set, else the saver's; None for LangGraph's usual one."""
        return settings.serializer or (self.saver.serde if self.saver is not None else None)


def saver_over(
    pool: Pool, serializer: SerializerProtocol, like: AsyncPostgresSaver | None = None
) -> AsyncPostgresSaver:
    """A saver of its own for one run, of the kind of `like`.

    One saver does all its statements one after another.
    """
    if like is not None:
        saver = copy.copy(like)
        saver.serde, saver.lock, saver.loop = serializer, asyncio.Lock(), asyncio.get_running_loop()
        return saver
    kind = AsyncPostgresSaver if type(serializer) is JsonPlusSerializer else _NotingSaver
    return kind(pool, serde=serializer)


async def create_checkpoint_tables(connection: Connection) -> None:
    """The checkpointer's own migrations; they build indexes, so not inside a transaction."""
    await AsyncPostgresSaver(connection).setup()


def _now(given: T | Callable[[], T] | None) -> T | None:
    """What a function returns: what lives in a host's lifespan is not there before it."""
    return given() if callable(given) else given


def _checked_pool(name: str, pool: Any) -> Pool | None:
    if pool is None:
        return None
    if not isinstance(pool, AsyncConnectionPool):
        found = type(pool).__name__
        raise SettingsError([f"{name} is a {found}: give a psycopg_pool.AsyncConnectionPool"])
    if pool.closed:
        raise SettingsError([f"{name} is not open: open it before the receiver starts"])
    return pool
