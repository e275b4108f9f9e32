"""`resumer serve`, `web` and `worker`: processes of our own, from their start to their end."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence

from .app import Resumer
from .key_files import KeyFiles
from .node_threads import end_by_force
from .serving import serving, stop_signals
from .settings import Settings
from .telemetry import get_logger
from .tracing import exporting

__all__ = ["serve", "settle_memory", "work"]

SPARE_SECONDS = 5.0

log = get_logger()


async def serve(read: Callable[[], Settings], host: str, port: int, *, worker: bool) -> None:
    """Receive, and resume unless `worker` is off, until a signal. `read` gives the settings."""
    key_files = KeyFiles(read)
    settings = read()
    resumer = Resumer(settings=settings, worker=worker)
    if worker:
        _warn_of_checkpoints()
    with stop_signals() as stop:
        async with (
            exporting(),
            key_files.watched(resumer.keys.take),
            resumer.running(),
            serving(
                resumer.app,
                host,
                port,
                drain_seconds=settings.drain_seconds,
                proxies=_proxies(settings),
            ) as address,
        ):
            log.info("listening", webhook=f"{address}/webhooks/looppause")
            settle_memory()
            await stop.wait()
            resumer.drain()
            end_by_force(2 * settings.drain_seconds + SPARE_SECONDS)


async def work(read: Callable[[], Settings], metrics_host: str, metrics_port: int | None) -> None:
    """Resume until a signal. `read` gives the settings."""
    key_files = KeyFiles(read)
    settings = read()
    resumer = Resumer(settings=settings)
    _warn_of_checkpoints()
    with stop_signals() as stop:
        async with (
            exporting(),
            key_files.watched(resumer.keys.take),
            resumer.running(),
            resumer.scrape.served(metrics_host, metrics_port),
        ):
            settle_memory()
            await stop.wait()
            end_by_force(2 * settings.drain_seconds + SPARE_SECONDS)


def settle_memory() -> None:
    """Keep what has been loaded from the garbage collector, now that all of it has been.

    It would look through it again, for 0.1 s, about once in a thousand deliveries.
    """
    gc.collect()
    gc.freeze()


def _proxies(settings: Settings) -> Sequence[str] | None:
    """Whom to believe; uvicorn's own default believes this machine, and an allow-list must not."""
    return settings.trusted_proxies if settings.trusted_proxies or settings.allowed_ips else None


def _warn_of_checkpoints() -> None:
    """Not set here: LangGraph reads it on its import, and it changes what nodes are given."""
    if os.environ.get("LANGGRAPH_STRICT_MSGPACK", "").lower() not in ("1", "true", "yes"):
        log.warning(
            "checkpoints_not_strict",
            advice="whoever can write to the checkpoint tables can run code here: set "
            "LANGGRAPH_STRICT_MSGPACK=true and allow the types of your state",
        )
