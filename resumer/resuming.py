"""The part that resumes, put together: what it finds threads with, its queue, and its worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx

from .checkpoints import open_checkpoints
from .db import Pool
from .errors import SettingsError
from .flows import FlowPauses, Flows
from .graphs import Graphs
from .hooks import Callback, Callbacks, Hooked
from .intake import Intake
from .keys import Keys
from .locks import ThreadLocks
from .metrics import Metrics
from .operator.exporting import Exporting
from .pruning import Pruning
from .remote import open_remotes
from .resume import Resumption
from .retention import Retention
from .rules import Policy
from .savers import HostsOwn
from .settings import Settings
from .sweeping import open_reconciler
from .thread_runs import ThreadPauses
from .threads import Threads
from .tracing import Tracing
from .watchlist import Watchlist
from .webhook import Webhook
from .witness import Witness
from .worker import Timing, build_queue, working

__all__ = ["open_witness", "resuming"]


@asynccontextmanager
async def resuming(
    settings: Settings, graphs: Graphs, flows: Flows, intake: Intake, witness: Witness
) -> AsyncIterator[Callable[[], bool]]:
    """Resume threads beside the body; yields what says whether the worker gives signs of life.

    Raises `SettingsError` if there is nothing to resume, `GraphNotLoaded` if it cannot be loaded,
    `DatabaseNotReady` if `resumer migrate` has not run, `PoolerRefused` behind a transaction
    pooler.
    """
    _require_graphs(settings)
    url, pauses = settings.checkpoints_at, intake.pauses
    given = HostsOwn.of(settings)
    async with open_checkpoints(settings, given) as checkpoints:
        loaded = await graphs.load_all()
        await flows.load_all()
        threads = Threads.of(checkpoints, loaded, given.serializer(settings), given.saver)
        flow_pauses = FlowPauses(checkpoints, flows, url)
        watchlist = Watchlist(pauses.pool)
        async with (
            ThreadLocks(url, metrics=witness.metrics).running() as locks,
            open_remotes(settings, pauses.pool) as remotes,
            open_reconciler(
                settings,
                watchlist=watchlist,
                intake=intake,
                threads=threads,
                graphs=graphs,
                flows=flow_pauses,
                remotes=remotes,
            ) as reconciler,
        ):
            resumption = Resumption(
                pauses=pauses,
                kinds=[
                    ThreadPauses(threads, graphs, watchlist),
                    flow_pauses,
                    *([remotes] if remotes else []),
                ],
                locks=locks,
                policy=_policy(settings),
                verify=intake.verify,
                witness=witness,
            )
            timing = _timing(settings)
            retention = Retention(pauses.pool, checkpoints, Exporting(pauses.pool).named)
            pruning = Pruning.of(settings, retention)
            queue = build_queue(resumption, reconciler, timing, witness.webhook, pruning)
            async with working(
                queue, pauses.pool, concurrency=settings.concurrency, timing=timing
            ) as is_beating:
                yield is_beating


@asynccontextmanager
async def open_witness(
    settings: Settings,
    keys: Keys,
    pool: Pool,
    metrics: Metrics,
    tracing: Tracing,
    given: Mapping[Hooked, Callback | None],
) -> AsyncIterator[Witness]:
    """Whoever tells of outcomes, the callbacks that were given among them."""
    callbacks = Callbacks(given, metrics=metrics, hash_responders=settings.hash_responders)
    async with callbacks.running(), _webhook(settings, keys, pool, metrics) as webhook:
        yield Witness(metrics, callbacks, webhook, tracing)


@asynccontextmanager
async def _webhook(
    settings: Settings, keys: Keys, pool: Pool, metrics: Metrics
) -> AsyncIterator[Webhook | None]:
    """The outgoing webhook with a client of its own; None where the settings name none."""
    if settings.hook_url is None:
        yield None
        return
    async with httpx.AsyncClient() as client:
        yield Webhook(
            settings.hook_url,
            keys.hook_secrets,
            settings.hook_events,
            pool=pool,
            client=client,
            metrics=metrics,
            hash_responders=settings.hash_responders,
        )


def _policy(settings: Settings) -> Policy:
    return Policy(
        settle_seconds=settings.settle_seconds,
        early_seconds=settings.early_hours * 3600,
        retry_delays=settings.retry_delays,
        stall_seconds=settings.stall_seconds,
    )


def _timing(settings: Settings) -> Timing:
    return Timing(
        stall=settings.stall_seconds,
        drain=settings.drain_seconds,
        reconcile=settings.reconcile_seconds,
    )


def _require_graphs(settings: Settings) -> None:
    if not settings.graphs and not settings.flows:
        raise SettingsError(
            [
                (
                    "no graph to resume: set RESUMER_GRAPHS to name=module:attribute, where name "
                    "is the agent_id of its gates, or * for every agent; RESUMER_FLOWS for flows"
                )
            ]
        )
