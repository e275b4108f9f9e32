"""The HTTP edge of probes: whether a process lives, and whether it can do its part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .http import unavailable
from .readiness import Readiness

__all__ = ["Health"]


@dataclass(frozen=True)
class Health:
    """What probes are told, to everybody: 200, or 503 with the reason.

    `readiness` is None while the receiver is not running; `not_started` is told then.
    """

    readiness: Callable[[], Readiness | None]
    not_started: str

    def routes(self) -> list[Route]:
        """The web app's: `/readyz` of the whole, `/readyz/receive` of its own part."""
        return [
            Route("/healthz", self._alive),
            Route("/readyz", self._whole),
            Route("/readyz/receive", self._receiving),
        ]

    def worker_routes(self) -> list[Route]:
        """Those of a process that only resumes: `/readyz` of its own worker."""
        return [Route("/healthz", self._alive), Route("/readyz", self._working)]

    async def _alive(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _whole(self, _request: Request) -> JSONResponse:
        readiness = self.readiness()
        return self._told(None if readiness is None else await readiness.whole())

    async def _receiving(self, _request: Request) -> JSONResponse:
        readiness = self.readiness()
        return self._told(None if readiness is None else await readiness.receiving())

    async def _working(self, _request: Request) -> JSONResponse:
        readiness = self.readiness()
        return self._told(None if readiness is None else readiness.working())

    def _told(self, problems: Sequence[str] | None) -> JSONResponse:
        if problems is None:
            return unavailable(self.not_started)
        if problems:
            return unavailable("; ".join(problems))
        return JSONResponse({"status": "ready"})
