"""The sweep put together: what it compares, and the client it asks LoopPause with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from looppause_sdk import AsyncLoopPauseClient

from .flows import FlowPauses
from .graphs import Graphs
from .intake import Intake
from .reconcile import Reconciler
from .remote import RemotePauses
from .settings import Settings
from .telemetry import get_logger
from .threads import Threads
from .watchlist import Watchlist

__all__ = ["open_reconciler"]

log = get_logger()


@asynccontextmanager
async def open_reconciler(
    settings: Settings,
    *,
    watchlist: Watchlist,
    intake: Intake,
    threads: Threads,
    graphs: Graphs,
    flows: FlowPauses,
    remotes: RemotePauses | None,
) -> AsyncIterator[Reconciler]:
    """A reconciler with a client of its own."""
    async with _looppause(settings) as looppause:
        yield Reconciler(
            watchlist=watchlist,
            intake=intake,
            threads=threads,
            graphs=graphs,
            flows=flows,
            remotes=remotes,
            looppause=looppause,
            interval=settings.reconcile_seconds,
        )


@asynccontextmanager
async def _looppause(settings: Settings) -> AsyncIterator[AsyncLoopPauseClient | None]:
    """The client the sweep asks with; None without an API key."""
    if settings.api_key is None:
        log.warning(
            "reconcile_without_looppause",
            advice="set LOOPPAUSE_API_KEY, else lost webhooks and expiries are never found out",
        )
        yield None
        return
    async with httpx.AsyncClient(timeout=10.0) as http_client:
        yield AsyncLoopPauseClient(
            settings.api_key,
            base_url=settings.api_url,
            signing_secrets=settings.signing_secrets,
            public_keys=settings.public_keys,
            http_client=http_client,
            max_attempts=2,
            env={},
        )
