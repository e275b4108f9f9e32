"""Open an emulator in memory or on a file, and serve it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from looppause_sdk.proof import Scheme
from looppause_sdk.testing import FakeLoopPause

from .app import Emulator
from .store import PauseFile

__all__ = ["emulator_server", "open_emulator", "serve_emulator", "serving"]


@contextlib.contextmanager
def open_emulator(
    *,
    scheme: Scheme = "hmac",
    secret: str | None = None,
    api_key: str | None = None,
    file: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Iterator[Emulator]:
    """An emulator with its data in memory, or in `file` for as long as the block runs.

    Keys that are not given are made; with a file they stay the same over restarts. `options`
    are those of `Emulator`. Raises `PauseFileError` if the file cannot be used.
    """
    if file is None:
        yield Emulator(FakeLoopPause(scheme=scheme, secret=secret, api_key=api_key), **options)
        return
    with contextlib.closing(PauseFile(file)) as pauses:
        fake = FakeLoopPause(
            scheme=scheme,
            secret=pauses.secret() if secret is None else secret,
            private_key=pauses.private_key(),
            api_key=api_key,
            pauses=pauses,
        )
        yield Emulator(fake, **options)


def emulator_server(
    emulator: Emulator, host: str = "127.0.0.1", port: int = 8787
) -> uvicorn.Server:
    """A uvicorn server for the emulator, for the caller to start; it takes the signals."""
    return uvicorn.Server(_config(emulator.app, host, port))


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve `app` in this event loop while the block runs; yield its base URL.

    Port 0 takes a free one. Signals stay with the caller. Raises `OSError` if the port is taken.
    """
    with socket.create_server((host, port)) as listener:
        port = listener.getsockname()[1]
        server = _EmbeddedServer(_config(app, host, port))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if task.done():
                    await task
                    raise RuntimeError("the app did not start: its log has the reason")
                await asyncio.sleep(0.005)
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            await task


def serve_emulator(
    host: str = "127.0.0.1",
    port: int = 8787,
    *,
    scheme: Scheme = "hmac",
    secret: str | None = None,
    api_key: str | None = None,
    file: str | os.PathLike[str] | None = None,
    announce: Callable[[Emulator], None] | None = None,
    **options: Any,
) -> None:
    """Serve an emulator until a signal ends it; `announce` is called once it can be described.

    Raises `PauseFileError` if the file cannot be used; `options` are those of `Emulator`.
    """
    with open_emulator(
        scheme=scheme, secret=secret, api_key=api_key, file=file, **options
    ) as emulator:
        if announce is not None:
            announce(emulator)
        with contextlib.suppress(KeyboardInterrupt):
            emulator_server(emulator, host, port).run()


class _EmbeddedServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    # No access log: the open page asks for changes every second.
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=3,
    )
