"""Run an ASGI application in this event loop until a signal, or the caller, ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import ServerNotStarted

__all__ = ["serving", "stop_signals"]

BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: whoever owns the event loop decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """HTTP that closes on who does not finish the head of a request in time."""

    head_seconds = 10.0
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._overdue = self.loop.call_later(self.head_seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle  # None before the first request
        between = cycle is None or cycle.response_complete
        if self._overdue is not None and not between:
            self._overdue.cancel()
            self._overdue = None
        elif self._overdue is None and between:
            self._overdue = self.loop.call_later(self.head_seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
        super().connection_lost(exc)


@asynccontextmanager
async def serving(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    drain_seconds: float = 3.0,
    lifespan: Literal["on", "off"] = "off",
    proxies: Sequence[str] | None = None,
) -> AsyncIterator[str]:
    """Serve `app` beside the body and yield its address; finish open requests on leaving.

    Port 0 takes a free one. `proxies` are believed whom they forward for; without, uvicorn's own
    setting holds. Raises `ServerNotStarted` if the address cannot be had.
    """
    with _listener(host, port) as listener:
        server = _Server(_config(app, drain_seconds, lifespan, proxies))
        task = asyncio.create_task(server.serve(sockets=[listener]), name="server")
        try:
            while not server.started:
                if task.done():
                    raise ServerNotStarted("the server ended at once: its log has the reason")
                await asyncio.sleep(0.01)
            yield _address(host, listener.getsockname()[1])
        finally:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await task


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # the address follows, once more
        raise ServerNotStarted(
            f"{host}:{port} cannot be had ({why}): give another --host or --port"
        ) from error
    # Every connection inherits it. Without, asyncio leaves a socket it was handed as it is, and
    # each response on a kept connection waits 40 ms for the client to acknowledge its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _config(
    app: Any,
    drain_seconds: float,
    lifespan: Literal["on", "off"],
    proxies: Sequence[str] | None,
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(drain_seconds),
        forwarded_allow_ips=None if proxies is None else list(proxies),
    )


def _address(host: str, port: int) -> str:
    """Where this machine reaches it: one that listens on every interface is at home, too."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set; a second one ends the process the usual way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
