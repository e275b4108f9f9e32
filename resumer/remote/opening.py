"""The servers that the settings name, and the pauses of their threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from resumer.db import Pool
from resumer.remote_settings import headers_by_server
from resumer.settings import Settings

from .pauses import RemoteGraphs, RemotePauses
from .server import Server
from .sightings import Sightings

__all__ = ["open_remotes"]


@asynccontextmanager
async def open_remotes(settings: Settings, pool: Pool) -> AsyncIterator[RemotePauses | None]:
    """The pauses of all servers, while their clients are open; None where no graph is remote.

    A server need not be there yet. `pool` is of our own database.
    """
    headers = headers_by_server(
        settings.graphs, settings.remote_key, settings.remote_keys, settings.remote_headers
    )
    if not headers:
        yield None
        return
    servers = {url: Server(url, sent) for url, sent in headers.items()}
    async with AsyncExitStack() as stack:
        for server in servers.values():
            await stack.enter_async_context(server.running())
        graphs = RemoteGraphs(settings.remote_graphs, servers)
        yield RemotePauses(pool, graphs, {url: Sightings(each) for url, each in servers.items()})
