"""The HTTP edge of Prometheus: `/metrics`, for who may read, or for everybody."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .collect import refusal
from .errors import SettingsError
from .gauges import Gauges
from .metrics import Metrics
from .serving import serving
from .telemetry import get_logger
from .tokens import Token

__all__ = ["Scrape"]

OFF = "the metrics are off: set RESUMER_READ_TOKENS, or RESUMER_METRICS_PUBLIC=1"

log = get_logger()


@dataclass(frozen=True)
class Scrape:
    """What is told to Prometheus, and to whom.

    `gauges` gives what reads the database, or None while the receiver is not running. `beside`
    are the routes of a port of its own that anybody may see.
    """

    metrics: Metrics
    tokens: Sequence[Token]
    is_public: bool
    gauges: Callable[[], Gauges | None]
    beside: Sequence[Route] = ()

    async def answer(self, request: Request) -> Response:
        """Everything, if the settings let the client see it."""
        if not self.is_public and (refused := refusal(request, self.tokens, off=OFF)):
            return refused
        return await self.tell(request)

    async def tell(self, request: Request) -> Response:
        """Everything, whoever asks."""
        gauges = self.gauges()
        if gauges is not None:
            await gauges.refresh()
        accept = request.headers.get("accept", "")
        body, content_type = self.metrics.exposition(accept, gauges)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    @asynccontextmanager
    async def served(self, host: str, port: int | None) -> AsyncIterator[str | None]:
        """Serve `/metrics` beside the body and yield its address; nothing where there is no port.

        On an address that only this machine reaches, to everybody; the routes `beside` always are.
        Raises `SettingsError` if others would reach it and nobody may see anything,
        `ServerNotStarted` as `serving` does.
        """
        if port is None:
            yield None
            return
        async with serving(self._app(host), host, port) as address:
            log.info("metrics_served", address=f"{address}/metrics")
            yield address

    def _app(self, host: str) -> Starlette:
        if _is_loopback(host):
            return Starlette(routes=[Route("/metrics", self.tell), *self.beside])
        if not self.is_public and not self.tokens:
            raise SettingsError([f"--metrics-host {host}: {OFF}"])
        return Starlette(routes=[Route("/metrics", self.answer), *self.beside])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
