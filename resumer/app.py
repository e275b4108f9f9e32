"""Composition root: settings to pools, graphs, ASGI application and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from .collect import collect, refusal
from .db import SCHEMA, Pool, open_pool
from .flows import Flows
from .gauges import Gauges
from .graphs import Graphs
from .hooks import Callback, Hooked
from .http import unavailable
from .intake import Intake
from .metrics import Metrics
from .migrate import check_migrated
from .operator.acting import Acting
from .operator.api import Operating, OperatorApi
from .operator.dashboard.desk import Desks
from .operator.dashboard.pages import Dashboard
from .operator.reading import Reading
from .pauses import Pauses
from .readiness import problems, require
from .receive import receive
from .resuming import open_witness, resuming
from .scrape import Scrape
from .settings import Settings
from .telemetry import get_logger
from .tracing import tracing_with
from .waiting import WaitingRoom

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

    intake: Intake
    room: WaitingRoom
    operating: Operating
    pool: Pool
    gauges: Gauges


class Resumer:
    """Receives signed proofs and resumes the threads that wait for them.

    `graphs` maps agent ids to compiled graphs, functions that return one, or
    `module:attribute`; the agent id `*` stands for all others. `flows` does so for CrewAI's flow
    classes, and needs `looppause-sdk[crewai]`. Serve `app` by itself, or mount
    it and enter `lifespan` in the host's; `worker=False` leaves resuming to other processes.
    `settings` stands for all other arguments; `more` are the further fields of `Settings`.
    `on_resumed`, `on_parked` and `on_failed` are called with a `HookEvent` where the worker runs.
    `tracer_provider` is OpenTelemetry's, where it is not to be the one of the process.

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
        on_resumed: Callback | None = None,
        on_parked: Callback | None = None,
        on_failed: Callback | None = None,
        tracer_provider: Any = None,
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
        self.metrics = Metrics.of_receiver()
        self._tracing = tracing_with(tracer_provider)
        self.scrape = Scrape(
            self.metrics, self.settings.tokens, self.settings.metrics_public, self._gauges
        )
        self._callbacks: dict[Hooked, Callback | None] = {
            "resumed": on_resumed,
            "parked": on_parked,
            "failed": on_failed,
        }
        self._with_worker = worker
        self._running: _Running | None = None
        self._desks = Desks(self.settings, self.graphs, self._operating)
        self.app = Starlette(routes=self._routes(), lifespan=self.lifespan)

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str] | None = None,
        *,
        worker: bool = True,
        on_resumed: Callback | None = None,
        on_parked: Callback | None = None,
        on_failed: Callback | None = None,
        tracer_provider: Any = None,
        **given: Any,
    ) -> Resumer:
        """Settings from the environment; `given` ones that are not None win.

        Raises `SettingsError` that lists every fault.
        """
        return cls(
            settings=Settings.from_env(env, **given),
            worker=worker,
            on_resumed=on_resumed,
            on_parked=on_parked,
            on_failed=on_failed,
            tracer_provider=tracer_provider,
        )

    def __repr__(self) -> str:
        return f"Resumer(graphs={sorted(self.settings.graphs)}, running={self.is_running})"

    def _routes(self) -> list[BaseRoute]:
        return [
            Route("/webhooks/looppause", self._receive, methods=["POST"]),
            Route("/pauses/{pause_id:path}", self._collect, methods=["GET"]),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self.scrape.answer),
            *OperatorApi(self.settings.tokens, self._operating).routes(),
            *Dashboard(self.settings.tokens, self._desks.now).routes(),
        ]

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
            intake = Intake(
                pauses,
                settings.signing_secrets,
                settings.public_keys,
                metrics=self.metrics,
                tracing=self._tracing,
            )
            await stack.enter_async_context(intake.refusals.storing(pool))
            if self._with_worker:
                await self._enter_worker(stack, intake)
            room = WaitingRoom(settings.database_url, pauses)
            await stack.enter_async_context(room.running())
            await stack.enter_async_context(self._desks.running())
            operating = Operating(Reading(pool, settings.stall_seconds), Acting(pool))
            gauges = Gauges(pool, settings.stall_seconds)
            self._running = _Running(intake, room, operating, pool, gauges)
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
        return await self._running.operating.acting.retry(pause_ids, by="program")

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

    async def _enter_worker(self, stack: AsyncExitStack, intake: Intake) -> None:
        witness = await stack.enter_async_context(
            open_witness(
                self.settings, intake.pauses.pool, self.metrics, intake.tracing, self._callbacks
            )
        )
        await stack.enter_async_context(
            resuming(self.settings, self.graphs, self.flows, intake, witness)
        )

    async def _receive(self, request: Request) -> JSONResponse:
        if self._running is None:
            log.error("not_started", advice=NOT_STARTED)
            return unavailable(NOT_STARTED)
        return await receive(request, self._running.intake, max_bytes=self.settings.max_body_bytes)

    async def _collect(self, request: Request) -> Response:
        if refused := refusal(request, self.settings.tokens):
            return refused
        if self._running is None:
            log.error("not_started", advice=NOT_STARTED)
            return unavailable(NOT_STARTED)
        return await collect(request, self._running.room)

    def _gauges(self) -> Gauges | None:
        return self._running.gauges if self._running else None

    def _operating(self) -> Operating | None:
        return self._running.operating if self._running else None

    async def _healthz(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _request: Request) -> JSONResponse:
        if self._running is None:
            return unavailable(NOT_STARTED)
        found = await problems(self._running.pool, self.settings.stall_seconds)
        if found:
            return unavailable("; ".join(found))
        return JSONResponse({"status": "ready"})
