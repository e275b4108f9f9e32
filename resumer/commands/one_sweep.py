"""One sweep in a process of its own, with all that a worker would have for it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import psycopg

from resumer.db import SCHEMA, Pool, open_pool
from resumer.errors import DatabaseNotReady
from resumer.flows import FlowPauses, Flows
from resumer.graphs import Graphs
from resumer.intake import Intake
from resumer.migrate import check_checkpoints_migrated, check_migrated
from resumer.pauses import Pauses
from resumer.reconcile import Reconciler, Sweep
from resumer.remote import open_remotes
from resumer.settings import Settings
from resumer.sweeping import open_reconciler
from resumer.threads import Threads
from resumer.watchlist import Watchlist

from .service import reach

__all__ = ["sweep"]

CONNECTIONS = 6  # the sweep's own lock holds one


async def sweep(settings: Settings) -> Sweep | None:
    """What a sweep by these settings found and repaired; None if another process sweeps just now.

    Raises `DatabaseNotReady`, and `GraphNotLoaded` if a graph or flow cannot be loaded.
    """
    for url in dict.fromkeys((settings.database_url, settings.checkpoints_at)):
        await reach(url)
    async with AsyncExitStack() as stack:
        try:
            return await (await _enter(stack, settings)).sweep()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseNotReady(
                "the database went away meanwhile: what is repaired stays so, run it again"
            ) from error


async def _enter(stack: AsyncExitStack, settings: Settings) -> Reconciler:
    url = settings.checkpoints_at
    ours = await stack.enter_async_context(
        open_pool(settings.database_url, size=CONNECTIONS, schema=SCHEMA, name="cli")
    )
    theirs = await stack.enter_async_context(open_pool(url, size=CONNECTIONS, name="checkpoints"))
    await _check(ours, theirs)
    graphs, flows = Graphs(settings.local_graphs), Flows(settings.flows)
    await stack.enter_async_context(graphs.running())
    loaded = await graphs.load_all()
    await flows.load_all()
    return await stack.enter_async_context(
        open_reconciler(
            settings,
            watchlist=Watchlist(ours),
            intake=Intake(Pauses(ours), settings.signing_secrets, settings.public_keys),
            threads=Threads.of(theirs, loaded, settings.serializer),
            graphs=graphs,
            flows=FlowPauses(theirs, flows, url),
            remotes=await stack.enter_async_context(open_remotes(settings, ours)),
        )
    )


async def _check(ours: Pool, theirs: Pool) -> None:
    async with ours.connection() as connection:
        await check_migrated(connection)
    async with theirs.connection() as connection:
        await check_checkpoints_migrated(connection)
