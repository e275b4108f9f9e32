"""The emulator as a Starlette app, and what has to run beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from looppause_sdk.testing import FakeLoopPause
from resumer.telemetry import get_logger

from .body import BodyTooLarge, read_body
from .delivery import Backoff, Deliverer
from .inbox import InboxPage

__all__ = ["Emulator"]

LONGEST_NAP = 0.25
SHORTEST_NAP = 0.01
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
log = get_logger("resumer.emulator")


class Emulator:
    """A local LoopPause around `fake`: `app` has its API and its inbox page.

    The app's own lifespan runs what delivers webhooks and applies timeouts. Where the app is
    mounted no lifespan is run: keep `async with emulator.running()` around the serving.

    `backoff`, `deliver`, `drop_rate`, `notices`, `deliver_to` and `delivery_timeout` (seconds) are
    the deliverer's, which `deliveries` shows and lets be changed. `responder` is the name that the
    page suggests, `allowed_hosts` are host names besides localhost that it answers to. `dashboard`
    is the address of the receiver's, which the page links to.
    """

    def __init__(
        self,
        fake: FakeLoopPause | None = None,
        *,
        backoff: Backoff | None = None,
        deliver: bool = True,
        drop_rate: float = 0.0,
        notices: bool = True,
        delivery_timeout: float = 10.0,
        deliver_to: Callable[[str], str] | None = None,
        responder: str = "you@localhost",
        allowed_hosts: Collection[str] = (),
        dashboard: str | None = None,
    ) -> None:
        self.fake = fake or FakeLoopPause()
        self.deliveries = Deliverer(
            self.fake,
            backoff=backoff or Backoff(),
            deliver=deliver,
            drop_rate=drop_rate,
            notices=notices,
            timeout=delivery_timeout,
            deliver_to=deliver_to,
        )
        self._entered = 0
        page = InboxPage(self.fake, self.deliveries, responder=responder, dashboard=dashboard)
        api = [
            Route("/healthz", self._healthz),
            Route("/v1/{rest:path}", self._api, methods=METHODS),
            Route("/.well-known/{rest:path}", self._api, methods=METHODS),
        ]
        self.app = Starlette(
            routes=[*api, *page.routes(allowed_hosts)],
            lifespan=self._lifespan,
            exception_handlers={404: _not_found, 405: _not_found, 500: _failed},
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Emulator]:
        """Deliver webhooks and apply timeouts while the block runs; entering twice is harmless."""
        self._entered += 1
        try:
            if self._entered > 1:
                yield self
                return
            async with self.deliveries.running(), _in_background(self._tick()):
                yield self
        finally:
            self._entered -= 1

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with self.running():
            yield

    async def _tick(self) -> None:
        while True:
            for pause_id in self.fake.tick():
                log.info("due", pause_id=pause_id, status=self.fake.document(pause_id)["status"])
            due = self.fake.next_due()
            left = LONGEST_NAP if due is None else (due - self.fake.clock()).total_seconds()
            await asyncio.sleep(min(max(left, SHORTEST_NAP), LONGEST_NAP))

    async def _api(self, request: Request) -> Response:
        try:
            body = await read_body(request)
        except BodyTooLarge as error:
            # Closing is what stops a sender that has not finished.
            return _error(413, str(error), {"Connection": "close"})
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        reply = self.fake.handle(request.method, path, request.headers, body)
        return Response(reply.body, reply.status, dict(reply.headers))

    async def _healthz(self, _request: Request) -> Response:
        if self._entered:
            return JSONResponse({"status": "ok", "scheme": self.fake.scheme})
        return JSONResponse(
            {"status": "stopped", "do": "keep `async with emulator.running()` around it"}, 503
        )


@contextlib.asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("timeouts are no longer applied by themselves", exc_info=error)


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _error(status, f"there is nothing for {request.method} at {request.url.path}")


async def _failed(_request: Request, _cause: Exception) -> Response:
    return _error(500, "the emulator failed: its log has the reason")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message}}, status, headers)
