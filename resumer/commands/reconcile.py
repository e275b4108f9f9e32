"""`resumer reconcile --once`: one sweep, here and now, and what it found and repaired."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated

import psycopg
import typer

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
from resumer.telemetry import log_to
from resumer.threads import Threads
from resumer.watchlist import Watchlist

from .options import Database
from .service import reach
from .shown import echo_json

__all__ = ["reconcile"]

CONNECTIONS = 6  # the sweep's own lock holds one


def reconcile(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Sweep once and end; the workers do it all the time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    database_url: Database = None,
) -> None:
    """Sweep once: compare pauses, threads and LoopPause, and repair what got lost between them.

    Run it in the environment of a worker, with its keys, its graphs and LOOPPAUSE_API_KEY. What is
    taken up again is resumed by the workers. Safe to repeat. Exit code 0 if it swept, 1 if another
    process was sweeping just then, 2 if it cannot be done as called.
    """
    if not once:
        raise typer.BadParameter(
            "say --once; workers sweep by themselves, every RESUMER_RECONCILE_SECONDS"
        )
    log_to(level="WARNING")
    # Not over what `resumer dev` has left: LoopPause's word and the database must belong together.
    settings = Settings.from_env(os.environ, database_url=database_url)
    swept = asyncio.run(_sweep(settings))
    if as_json:
        echo_json({"swept": swept is not None, **(asdict(swept) if swept else {})})
    else:
        for line in _told(swept, asks=settings.api_key is not None):
            typer.echo(line)
    raise typer.Exit(0 if swept else 1)


async def _sweep(settings: Settings) -> Sweep | None:
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


def _told(swept: Sweep | None, *, asks: bool) -> Iterator[str]:
    if swept is None:
        yield "Another process is sweeping just now: see what it finds, or run this again."
        return
    yield f"Found   {_count(swept.waiting)} that threads hibernate at, in what is new to the sweep."
    if asks:
        answers = f"{swept.answered} had an answer"
        yield f"Asked   LoopPause about {_count(swept.asked)} that were due: {answers}."
    else:
        yield "Asked   nobody: set LOOPPAUSE_API_KEY, else lost answers and expiries stay unknown."
    repaired = {
        "answered, with no job that works on them": swept.requeued,
        "parked or collected, whose thread or graph is there now": swept.reopened,
        "answered at LoopPause, and never delivered": swept.answered,
    }
    for what, count in repaired.items():
        if count:
            yield f"Mended  {_count(count)} {what}: the workers go on with them."
    if not any(repaired.values()):
        yield "Mended  nothing: all is as it should be."


def _count(number: int) -> str:
    return "1 pause" if number == 1 else f"{number} pauses"
