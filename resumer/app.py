"""Composition root: settings to pools, graphs, ASGI application and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from looppause_sdk import AsyncLoopPauseClient

from .db import SCHEMA, Connection, Pool, is_transient, open_pool
from .errors import DatabaseNotReady, SettingsError
from .graphs import Graphs
from .intake import Intake
from .locks import ThreadLocks
from .migrate import check_checkpoints_migrated, check_migrated
from .pauses import Pauses
from .receive import receive, unavailable
from .reconcile import Reconciler
from .resume import Resumption
from .rules import Policy
from .settings import Settings
from .telemetry import get_logger
from .threads import Threads
from .watchlist import Watchlist
from .worker import Timing, build_queue, working

__all__ = ["Resumer"]

WEB_CONNECTIONS = 10
ANSWER_SECONDS = 2.0  # until a sender is told that the database is away
NOT_STARTED = (
    "the receiver is mounted but not started: enter `resumer.lifespan` in the host application's "
    "lifespan, or wrap serving in `async with resumer.running()`"
)

log = get_logger()


@dataclass(frozen=True)
class _Running:
    """What exists while the receiver runs."""

    pool: Pool
    intake: Intake


class Resumer:
    """Receives signed proofs and resumes the threads that wait for them.

    `graphs` maps agent ids to compiled graphs, functions that return one, or
    `module:attribute`; the agent id `*` stands for all others. Serve `app` by itself, or mount
    it and enter `lifespan` in the host's; `worker=False` leaves resuming to other processes.
    `settings` stands for all other arguments; `more` are the further fields of `Settings`.

    Raises `SettingsError` that lists every fault.
    """

    def __init__(
        self,
        graphs: Mapping[str, Any] | None = None,
        *,
        database_url: str = "",
        checkpoint_url: str | None = None,
        signing_secrets: Sequence[str] = (),
        public_keys: Sequence[str] = (),
        worker: bool = True,
        settings: Settings | None = None,
        **more: Any,
    ) -> None:
        self.settings = settings or Settings(
            graphs=dict(graphs or {}),
            database_url=database_url,
            checkpoint_url=checkpoint_url or "",
            signing_secrets=tuple(signing_secrets),
            public_keys=tuple(public_keys),
            **more,
        )
        self.graphs = Graphs(self.settings.graphs)
        self._with_worker = worker
        self._running: _Running | None = None
        self.app = Starlette(
            routes=[
                Route("/webhooks/looppause", self._receive, methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
            ],
            lifespan=self.lifespan,
        )

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] | None = None, *, worker: bool = True, **given: Any
    ) -> Resumer:
        """Settings from the environment; `given` ones that are not None win.

        Raises `SettingsError` that lists every fault.
        """
        return cls(settings=Settings.from_env(env, **given), worker=worker)

    def __repr__(self) -> str:
        return f"Resumer(graphs={sorted(self.settings.graphs)}, running={self.is_running})"

    @property
    def is_running(self) -> bool:
        """Whether deliveries are taken."""
        return self._running is not None

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Start and stop with an ASGI application; pass it to the host, or enter it in its own."""
        async with self.running():
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Resumer]:
        """Take deliveries, and resume threads unless the worker is off.

        Raises `DatabaseNotReady` if `resumer migrate` has not run, `GraphNotLoaded` if a graph
        cannot be loaded, `PoolerRefused` behind a transaction pooler. A database that is away
        for the moment is no error: deliveries are answered 503 until it is back.
        """
        if self.is_running:
            raise RuntimeError("this Resumer is running already")
        async with AsyncExitStack() as stack:
            settings = self.settings
            pool = await stack.enter_async_context(self._open_pool())
            pauses = Pauses(pool)
            intake = Intake(pauses, settings.signing_secrets, settings.public_keys)
            if self._with_worker:
                _require_graphs(settings)
                await self._enter_worker(stack, pauses, intake)
            self._running = _Running(pool, intake)
            log.info("started", graphs=sorted(settings.graphs), worker=self._with_worker)
            try:
                yield self
            finally:
                self._running = None
                log.info("stopping", drain_seconds=settings.drain_seconds)

    async def retry(self, pause_ids: Sequence[str]) -> list[str]:
        """Take parked or failed pauses up again, from the start of the retry policy.

        Returns those that were; any others are left as they are. Raises `RuntimeError` unless
        the receiver is running.
        """
        if self._running is None:
            raise RuntimeError(NOT_STARTED)
        return await Watchlist(self._running.pool).reopen(pause_ids)

    @asynccontextmanager
    async def _open_pool(self) -> AsyncIterator[Pool]:
        # A worker uses one for LISTEN and up to one a job for the queue's own statements.
        size = WEB_CONNECTIONS + (2 + self.settings.concurrency // 2 if self._with_worker else 0)
        url = self.settings.database_url
        async with open_pool(
            url, size=size, schema=SCHEMA, name="resumer", patience=ANSWER_SECONDS
        ) as pool:
            await _check(pool, check_migrated)
            yield pool

    async def _enter_worker(self, stack: AsyncExitStack, pauses: Pauses, intake: Intake) -> None:
        settings = self.settings
        url = settings.checkpoints_at
        checkpoints = await stack.enter_async_context(
            open_pool(url, size=settings.concurrency + 2, name="checkpoints")
        )
        await _check(checkpoints, check_checkpoints_migrated)
        graphs = await self.graphs.load_all()
        threads = Threads.of(checkpoints, graphs, settings.serializer)
        resumption = Resumption(
            pauses=pauses,
            threads=threads,
            graphs=self.graphs,
            locks=await stack.enter_async_context(ThreadLocks(url).running()),
            policy=_policy(settings),
            verify=intake.verify,
        )
        reconciler = Reconciler(
            watchlist=Watchlist(pauses.pool),
            intake=intake,
            threads=threads,
            graphs=self.graphs,
            looppause=await stack.enter_async_context(_looppause(settings)),
            interval=settings.reconcile_seconds,
        )
        timing = Timing(
            stall=settings.stall_seconds,
            drain=settings.drain_seconds,
            reconcile=settings.reconcile_seconds,
        )
        queue = build_queue(resumption, reconciler, timing)
        await stack.enter_async_context(
            working(queue, pauses.pool, concurrency=settings.concurrency, timing=timing)
        )

    async def _receive(self, request: Request) -> JSONResponse:
        if self._running is None:
            log.error("not_started", advice=NOT_STARTED)
            return unavailable(NOT_STARTED)
        return await receive(request, self._running.intake, max_bytes=self.settings.max_body_bytes)

    async def _healthz(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _request: Request) -> JSONResponse:
        if self._running is None:
            return unavailable(NOT_STARTED)
        problems = await _problems(self._running.pool, self.settings.stall_seconds)
        if problems:
            return unavailable("; ".join(problems))
        return JSONResponse({"status": "ready"})


async def _check(pool: Pool, check: Callable[[Connection], Awaitable[None]]) -> None:
    """Refuse a database that is not set up; one that is away for the moment is waited for."""
    try:
        async with pool.connection() as connection:
            await check(connection)
    except Exception as error:
        if isinstance(error, DatabaseNotReady) or not is_transient(error):
            raise
        log.error("database_away", error=str(error))


def _policy(settings: Settings) -> Policy:
    return Policy(
        settle_seconds=settings.settle_seconds,
        early_seconds=settings.early_hours * 3600,
        retry_delays=settings.retry_delays,
        stall_seconds=settings.stall_seconds,
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


def _require_graphs(settings: Settings) -> None:
    if not settings.graphs:
        raise SettingsError(
            [
                (
                    "no graph to resume: set RESUMER_GRAPHS to name=module:attribute, where name "
                    "is the agent_id of its gates, or * for every agent"
                )
            ]
        )


async def _problems(pool: Pool, stall_seconds: float) -> list[str]:
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
