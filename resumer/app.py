"""Composition root: settings to pools, graphs, ASGI application and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from .addresses import Senders
from .collect import collect, refusal
from .db import SCHEMA, Pool, open_pool
from .flows import Flows
from .gauges import Gauges
from .graphs import Graphs
from .health import Health
from .hooks import Callback, Hooked
from .intake import Intake
from .keys import Keys
from .metrics import Metrics
from .migrate import check_migrated
from .operator.acting import Acting
from .operator.api import Operating, OperatorApi
from .operator.dashboard.desk import Desks
from .operator.dashboard.pages import Dashboard
from .operator.reading import Reading
from .pauses import Pauses
from .readiness import Readiness, require
from .receive import receive
from .scrape import Scrape
from .settings import Settings
from .telemetry import get_logger
from .tracing import tracing_with
from .unstarted import NOT_STARTED, Unstarted
from .waiting import WaitingRoom

__all__ = ["Resumer"]

WEB_CONNECTIONS = 10
ANSWER_SECONDS = 2.0  # until a sender is told that the database is away

log = get_logger()


@dataclass(frozen=True)
class _Running:
    """What exists while the receiver runs."""

    intake: Intake
    room: WaitingRoom
    operating: Operating
    readiness: Readiness
    gauges: Gauges


class Resumer:
    """Receives signed proofs and resumes the threads that wait for them.

    `graphs` maps agent ids to compiled graphs, functions and context managers that give one, or
    `module:attribute`, or to `https://host#assistant` for one on a LangGraph server; the agent id
    `*` stands for all others. It may be the path of a
    `langgraph.json`. `flows` does so for CrewAI's flow classes, and needs
    `looppause-sdk[crewai]`. Serve `app` by itself, or mount it and enter `lifespan` in the host's;
    `worker=False` leaves resuming to other processes.
    `settings` stands for all other arguments; `more` are the further fields of `Settings`.
    `on_resumed`, `on_parked` and `on_failed` are called with a `HookEvent` where the worker runs.
    `tracer_provider` is OpenTelemetry's, where it is not to be the one of the process.

    Raises `SettingsError` that lists every fault.
    """

    def __init__(
        self,
        graphs: Mapping[str, Any] | str | Path | None = None,
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
            graphs=cast("Mapping[str, Any]", graphs or {}),  # Settings reads a file
            flows=dict(flows or {}),
            database_url=database_url,
            checkpoint_url=checkpoint_url or "",
            signing_secrets=tuple(signing_secrets),
            public_keys=tuple(public_keys),
            **more,
        )
        self.graphs = Graphs(self.settings.local_graphs)
        self.flows = Flows(self.settings.flows)
        self.keys = Keys(self.settings)
        self._senders = Senders.of(self.settings.allowed_ips, self.settings.trusted_proxies)
        self.metrics = Metrics.of_receiver()
        self._tracing = tracing_with(tracer_provider)
        self._unstarted = Unstarted()
        self._health = Health(self._readiness, NOT_STARTED)
        self.scrape = Scrape(
            self.metrics,
            self.keys.tokens,
            self.settings.metrics_public,
            self._gauges,
            beside=self._health.worker_routes(),
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
            *self._health.routes(),
            Route("/metrics", self.scrape.answer),
            *OperatorApi(self.keys.tokens, self._operating).routes(),
            *Dashboard(self.keys.tokens, self._desks.now).routes(),
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
                self.keys.signing_secrets,
                self.keys.public_keys,
                metrics=self.metrics,
                tracing=self._tracing,
            )
            await stack.enter_async_context(intake.refusals.storing(pool))
            await stack.enter_async_context(self.graphs.running())
            is_beating = await self._enter_worker(stack, intake) if self._with_worker else None
            room = WaitingRoom(settings.database_url, pauses)
            await stack.enter_async_context(room.running())
            await stack.enter_async_context(self._desks.running())
            operating = Operating(Reading(pool, settings.stall_seconds), Acting(pool))
            gauges = Gauges(pool, settings.stall_seconds)
            readiness = Readiness(pool, settings.stall_seconds, is_beating)
            self._unstarted.has_run = True
            self._running = _Running(intake, room, operating, readiness, gauges)
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

    def reload_keys(self, **keys: str | Sequence[str]) -> None:
        """Use other keys or tokens from now on, while it runs, and keep those not given.

        Of `signing_secrets`, `public_keys`, `read_tokens`, `act_tokens` and `hook_secrets`; give
        old and new ones together for as long as both are in use. Raises `SettingsError`, and
        changes nothing, if they cannot be used.
        """
        self.keys.give(**keys)

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
        # A worker's queue has up to one statement a job; its LISTEN has a connection of its own.
        size = WEB_CONNECTIONS + (2 + self.settings.concurrency // 2 if self._with_worker else 0)
        url = self.settings.database_url
        async with open_pool(
            url, size=size, schema=SCHEMA, name="resumer", patience=ANSWER_SECONDS
        ) as pool:
            await require(pool, check_migrated)
            yield pool

    async def _enter_worker(self, stack: AsyncExitStack, intake: Intake) -> Callable[[], bool]:
        # LangGraph and Procrastinate: half of the start and of the memory, and web needs neither.
        from .resuming import open_witness, resuming  # noqa: PLC0415 - as above

        witness = await stack.enter_async_context(
            open_witness(
                self.settings,
                self.keys,
                intake.pauses.pool,
                self.metrics,
                intake.tracing,
                self._callbacks,
            )
        )
        return await stack.enter_async_context(
            resuming(self.settings, self.graphs, self.flows, intake, witness)
        )

    async def _receive(self, request: Request) -> JSONResponse:
        if self._running is None:
            return self._unstarted.response()
        return await receive(
            request,
            self._running.intake,
            max_bytes=self.settings.max_body_bytes,
            senders=self._senders,
        )

    async def _collect(self, request: Request) -> Response:
        if refused := refusal(request, self.keys.tokens):
            return refused
        if self._running is None:
            return self._unstarted.response()
        return await collect(request, self._running.room)

    def _gauges(self) -> Gauges | None:
        return self._running.gauges if self._running else None

    def _operating(self) -> Operating | None:
        return self._running.operating if self._running else None

    def _readiness(self) -> Readiness | None:
        return self._running.readiness if self._running else None
