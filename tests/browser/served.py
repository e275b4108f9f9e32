"""An application served from a thread, beside a test that waits for its browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from resumer.serving import serving

__all__ = ["served"]


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve `app` on a free port of the loopback; yield its address."""
    started, stop = threading.Event(), threading.Event()
    addresses: list[str] = []

    async def serve() -> None:
        async with serving(app, lifespan="on") as address:
            addresses.append(address)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield addresses[0]
    finally:
        stop.set()
        thread.join(10)
