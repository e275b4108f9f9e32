"""httpx transports that end in the brain instead of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from ._fake import FakeLoopPause

__all__ = ["AsyncFakeTransport", "FakeTransport"]


class FakeTransport(httpx.BaseTransport):
    """Answers every request of an `httpx.Client`, whatever its host."""

    def __init__(self, fake: FakeLoopPause) -> None:
        self._fake = fake

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request to the brain."""
        return _answer(self._fake, request, request.read())


class AsyncFakeTransport(httpx.AsyncBaseTransport):
    """Answers every request of an `httpx.AsyncClient`, whatever its host."""

    def __init__(self, fake: FakeLoopPause) -> None:
        self._fake = fake

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request to the brain."""
        return _answer(self._fake, request, await request.aread())


def _answer(fake: FakeLoopPause, request: httpx.Request, body: bytes) -> httpx.Response:
    reply = fake.handle(request.method, request.url.path, request.headers, body)
    return httpx.Response(
        reply.status, headers=dict(reply.headers), content=reply.body, request=request
    )
