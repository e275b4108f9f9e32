"""Requests over connections that are kept open, each sent when the last was answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.report import percentile

__all__ = ["Load", "post", "request"]

_END = b"\r\n\r\n"


@dataclass
class Load:
    """What a number of connections got: seconds for each answer, and answers by status."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.times) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the answers came."""
        return percentile(self.times, share) * 1000


def request(url: str, body: bytes) -> bytes:
    """A POST of JSON, ready to be sent."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def post(url: str, requests: Iterator[bytes], *, connections: int, seconds: float) -> Load:
    """Send `requests` for so many seconds, over so many connections at once."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    load = Load()
    start = time.perf_counter()
    loop = asyncio.get_running_loop()
    clients = [_Client(requests, load, start + seconds) for _ in range(connections)]
    await asyncio.gather(*(loop.create_connection(client.itself, host, port) for client in clients))
    await asyncio.gather(*(client.done for client in clients))
    load.seconds = time.perf_counter() - start
    return load


class _Client(asyncio.Protocol):
    """As little Python as will do: what the client takes, the server has not."""

    def __init__(self, requests: Iterator[bytes], load: Load, until: float) -> None:
        self._requests = requests
        self._load = load
        self._until = until
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def itself(self) -> _Client:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of a stream
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_END)
        if not end:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self._load.times.append(now - self._sent_at)
        self._load.statuses[int(head[9:12])] += 1
        self._received = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if exc is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(exc)

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)
