"""What the dashboard works with while the receiver runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from resumer.db import open_pool
from resumer.graphs import Graphs
from resumer.operator.acting import Acting
from resumer.operator.api import Operating
from resumer.operator.reading import Reading
from resumer.settings import Settings

from .thread_views import ThreadViews

__all__ = ["Desk", "Desks"]

CONNECTIONS = 2
PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Desk:
    """What operators see and do. `threads` is None where this process has no graph."""

    reading: Reading
    acting: Acting
    threads: ThreadViews | None = None


class Desks:
    """The desk while the receiver runs: `operating` gives None while it does not."""

    def __init__(
        self, settings: Settings, graphs: Graphs, operating: Callable[[], Operating | None]
    ) -> None:
        self._settings = settings
        self._graphs = graphs
        self._operating = operating
        self._threads: ThreadViews | None = None

    def now(self) -> Desk | None:
        """The desk, or None."""
        operating = self._operating()
        if operating is None:
            return None
        return Desk(operating.reading, operating.acting, self._threads)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect to the checkpointer's database, if there is a graph to show and who to."""
        settings = self._settings
        if not settings.tokens or not settings.graphs:
            yield
            return
        from resumer.savers import HostsOwn  # noqa: PLC0415 - loads LangGraph, for graphs to show

        serializer = HostsOwn.of(settings).serializer(settings)
        async with open_pool(
            settings.checkpoints_at, size=CONNECTIONS, name="thread views", patience=PATIENCE
        ) as pool:
            self._threads = ThreadViews(pool, self._graphs, serializer)
            try:
                yield
            finally:
                self._threads = None
