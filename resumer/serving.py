"""Run an ASGI application in this event loop until a signal, or the caller, ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn

from .errors import ServerNotStarted

__all__ = ["serving", "stop_signals"]


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: whoever owns the event loop decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Any, host: str, port: int, *, drain_seconds: float) -> AsyncIterator[str]:
    """Serve `app` beside the body and yield its address; finish open requests on leaving.

    Raises `ServerNotStarted` if the address cannot be had.
    """
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(drain_seconds),
        )
    )
    task = asyncio.create_task(server.serve(), name=f"server {port}")
    try:
        while not server.started:
            if task.done():
                raise ServerNotStarted(
                    f"{host}:{port} cannot be had: is it in use? Choose another with --port"
                )
            await asyncio.sleep(0.01)
        bound = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{bound}"  # noqa: S104  (compared, not bound)
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError, SystemExit):
            await task


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
