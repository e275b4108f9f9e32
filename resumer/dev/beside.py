"""Work that goes on beside a session, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from resumer.hibernation import brief

__all__ = ["beside"]


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], say: Console) -> AsyncIterator[None]:
    """Run `work` while the body runs. An error of it is said, and ends it alone."""
    task = asyncio.create_task(_told(work, say))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _told(work: Coroutine[Any, Any, None], say: Console) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  (the session goes on without it)
        say.print(f"[bold red]✗[/] {escape(brief(error))}")
