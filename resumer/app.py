"""Composition root: settings to pools, graphs, ASGI application and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looppause_sdk import AsyncLoopPauseClient

from .collect import collect, refusal
from .db import SCHEMA, Pool, open_pool
from .errors import SettingsError
from .flows import FlowPauses, Flows
from .graphs import Graphs
from .http import unavailable
from .intake import Intake
from .locks import ThreadLocks
from .migrate import check_checkpoints_migrated, check_migrated
from .pauses import Pauses
from .readiness import problems, require
from .receive import receive
from .reconcile import Reconciler
from .resume import Resumption
from .rules import Policy
from .settings import Settings
from .telemetry import get_logger
from .thread_runs import ThreadPauses
from .threads import Threads
from .tokens import Token
from .waiting import WaitingRoom
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
    room: WaitingRoom


class Resumer:
    """Receives signed proofs and resumes the threads that wait for them.

    `graphs` maps agent ids to compiled graphs, functions that return one, or
    `module:attribute`; the agent id `*` stands for all others. `flows` does so for CrewAI's flow
    classes, and needs `looppause-sdk[crewai]`. Serve `app` by itself, or mount
    it and enter `lifespan` in the host's; `worker=False` leaves resuming to other processes.
    `settings` stands for all other arguments; `more` are the further fields of `Settings`.

    Raises `SettingsError` that lists every fault.
    """

    def __init__(
        self,
        graphs: Mapping[str, Any] | None = None,
        *,
        flows: Mapping[str, Any] | None = None,
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
            flows=dict(flows or {}),
            database_url=database_url,
            checkpoint_url=checkpoint_url or "",
            signing_secrets=tuple(signing_secrets),
            public_keys=tuple(public_keys),
            **more,
        )
        self.graphs = Graphs(self.settings.graphs)
        self.flows = Flows(self.settings.flows)
        self._with_worker = worker
        self._running: _Running | None = None
        self.app = Starlette(
            routes=[
                Route("/webhooks/looppause", self._receive, methods=["POST"]),
                Route("/pauses/{pause_id:path}", self._collect, methods=["GET"]),
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

        Raises `DatabaseNotReady` if `resumer migrate` has not run, `GraphNotLoaded` if a graph or
        flow cannot be loaded, `PoolerRefused` behind a transaction pooler. A database that is away
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
            room = WaitingRoom(settings.database_url, pauses)
            await stack.enter_async_context(room.running())
            self._running = _Running(pool, intake, room)
            registered = {"graphs": sorted(settings.graphs), "flows": sorted(settings.flows)}
            log.info("started", **registered, worker=self._with_worker)
            try:
                yield self
            finally:
                self._running = None
                log.info("stopping", drain_seconds=settings.drain_seconds)

    def drain(self) -> None:
        """Answer the clients that wait here, and hold no more: for just before the server stops.

        A server lets open requests end before it ends the lifespan, and these may be long.
        """
        if self._running is not None:
            self._running.room.dismiss()

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
            await require(pool, check_migrated)
            yield pool

    async def _enter_worker(self, stack: AsyncExitStack, pauses: Pauses, intake: Intake) -> None:
        settings = self.settings
        url = settings.checkpoints_at
        checkpoints = await stack.enter_async_context(
            open_pool(url, size=settings.concurrency + 2, name="checkpoints")
        )
        await require(checkpoints, check_checkpoints_migrated)
        graphs = await self.graphs.load_all()
        await self.flows.load_all()
        threads = Threads.of(checkpoints, graphs, settings.serializer)
        flows = FlowPauses(checkpoints, self.flows, url)
        watchlist = Watchlist(pauses.pool)
        resumption = Resumption(
            pauses=pauses,
            kinds=[ThreadPauses(threads, self.graphs, watchlist), flows],
            locks=await stack.enter_async_context(ThreadLocks(url).running()),
            policy=_policy(settings),
            verify=intake.verify,
        )
        reconciler = Reconciler(
            watchlist=watchlist,
            intake=intake,
            threads=threads,
            graphs=self.graphs,
            flows=flows,
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

    async def _collect(self, request: Request) -> Response:
        if refused := refusal(request, [*map(Token.of, self.settings.read_tokens)]):
            return refused
        if self._running is None:
            log.error("not_started", advice=NOT_STARTED)
            return unavailable(NOT_STARTED)
        return await collect(request, self._running.room)

    async def _healthz(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _request: Request) -> JSONResponse:
        if self._running is None:
            return unavailable(NOT_STARTED)
        found = await problems(self._running.pool, self.settings.stall_seconds)
        if found:
            return unavailable("; ".join(found))
        return JSONResponse({"status": "ready"})


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
    if not settings.graphs and not settings.flows:
        raise SettingsError(
            [
                (
                    "no graph to resume: set RESUMER_GRAPHS to name=module:attribute, where name "
                    "is the agent_id of its gates, or * for every agent; RESUMER_FLOWS for flows"
                )
            ]
        )
