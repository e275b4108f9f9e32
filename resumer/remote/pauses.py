"""How a thread on a LangGraph server is resumed: the server's side of what the rules ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resumer.db import Pool
from resumer.errors import GraphNotLoaded, RemoteAway, RemoteRefused
from resumer.graphs import Graphs
from resumer.hibernation import Run
from resumer.model import Outcome, Parked, PauseRecord, Place, Waiting
from resumer.remote_settings import RemoteAddress
from resumer.rules import Policy
from resumer.sql import statement
from resumer.telemetry import get_logger

from .rules import decide
from .runs import RemoteRun
from .seen import RemotePlace, ServerThread
from .server import Assistant, Server
from .sightings import Sightings

__all__ = ["RemoteGraphs", "RemotePauses"]

log = get_logger()


class RemoteGraphs(Graphs):
    """Assistants of LangGraph servers by agent id."""

    def __init__(self, registered: Mapping[str, str], servers: Mapping[str, Server]) -> None:
        super().__init__(registered)
        self.servers = servers

    async def build(self, name: str) -> Assistant:
        """The assistant that the server has. Raises `GraphNotLoaded`, `RemoteAway`."""
        address = RemoteAddress.of(self.registered[name])
        return await self.servers[address.server].assistant(address.assistant)

    def name_on(self, place: RemotePlace) -> str | None:
        """The registered name that serves the thread, or None.

        A gate that says neither agent nor graph leaves it to what the server runs the thread with.
        """
        name = self.name_for(place.agent_id, place.graph)
        if name is not None or place.agent_id is not None or place.graph is not None:
            return name
        theirs = {place.graph_id, place.assistant_id}
        fitting = [
            name
            for name, address in (
                (n, RemoteAddress.of(spec)) for n, spec in self.registered.items()
            )
            if address.server == place.server and address.assistant in theirs
        ]
        return fitting[0] if len(fitting) == 1 else None


@dataclass(frozen=True)
class RemotePauses:
    """The pauses that threads on LangGraph servers hibernate at. `pool` is of our own database."""

    pool: Pool
    graphs: RemoteGraphs
    sightings: Mapping[str, Sightings]
    noun = "graph"
    setting = "RESUMER_GRAPHS"

    def lock_of(self, place: Place) -> str:
        """The thread's own name, as for threads of our own."""
        return place.thread_id

    async def locate(self, pause_id: str) -> list[RemotePlace]:
        """Where the servers' threads hibernate at this pause, or did when we began to resume it.

        Raises `RemoteAway` or `RemoteRefused` if it is nowhere and some server could not be asked.
        """
        places, trouble = await self._anywhere(lambda each: each.find(pause_id))
        if not places and (row := await self._noted(pause_id)):
            places, trouble = await self._anywhere(lambda each: _known(each.server, row))
        if not places and trouble is not None:
            raise trouble
        return places

    async def load(self, place: RemotePlace) -> Assistant:
        """The assistant of the agent that asked. Raises `GraphNotLoaded`, `RemoteAway`."""
        name = self.graphs.name_on(place)
        if name is None:
            raise GraphNotLoaded(
                f"no graph on {place.server} is registered for agent {place.agent_id!r}"
            )
        assistant: Assistant = await self.graphs.load(name)
        if assistant.server.url != place.server:
            raise GraphNotLoaded(
                f"the thread is on {place.server}, and graph {name!r} on {assistant.server.url}"
            )
        return assistant

    async def decide(
        self,
        record: PauseRecord,
        places: Sequence[RemotePlace],
        loaded: Assistant,
        now: datetime,
        policy: Policy,
    ) -> Run | Outcome:
        """Look at the thread and choose by the resume table."""
        seen = await loaded.server.snapshot(places[0].thread_id)
        if seen is None:
            return _GONE
        if seen.thread.graph_id not in (None, loaded.graph_id):
            return Parked(
                "other_graph",
                f"the server runs this thread as graph {seen.thread.graph_id!r}, and its agent is "
                f"registered as {loaded.graph_id!r}: correct {self.setting}, then retry",
            )
        act = decide(record, seen, now, policy)
        if isinstance(act, Outcome):
            return act
        return RemoteRun(loaded, record, places[0], act, seen)

    async def waiting(self) -> AsyncIterator[list[Waiting]]:
        """Pauses that hibernate and were not told of before, page by page.

        Those of agents that are not registered are left out, since others may use the server,
        too; and so is a server that cannot be asked, until the next time.
        """
        for url, each in self.sightings.items():
            try:
                async for page in each.swept():
                    yield [pause for thread in page for pause in self._ours(thread, url)]
            except (RemoteAway, RemoteRefused) as error:
                log.warning("server_unavailable", server=url, reason=str(error)[:300])

    def _ours(self, thread: ServerThread, server: str) -> list[Waiting]:
        places = thread.places(server)
        waiting = thread.waiting()
        return [each for each in waiting if self.graphs.name_on(places[each.pause_id]) is not None]

    async def has_healed(self, pause_id: str, code: str) -> bool:
        """Whether the reason to park this pause has passed by itself."""
        try:
            places = await self.locate(pause_id)
            if places and code == "no_graph":
                await self.load(places[0])
        except (RemoteAway, RemoteRefused, GraphNotLoaded):
            return False
        return bool(places)

    async def _anywhere(
        self, ask: Callable[[Sightings], Awaitable[list[RemotePlace]]]
    ) -> tuple[list[RemotePlace], Exception | None]:
        """What all servers together have, and why some could not be asked."""
        places: list[RemotePlace] = []
        trouble: Exception | None = None
        for each in self.sightings.values():
            try:
                places += await ask(each)
            except (RemoteAway, RemoteRefused) as error:
                trouble = error
        return places, trouble

    async def _noted(self, pause_id: str) -> dict[str, Any] | None:
        """The thread that our own records name: it may not hibernate now."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(statement("noted_place"), {"pause_id": pause_id})
            return await cursor.fetchone()


async def _known(server: Server, row: Mapping[str, Any]) -> list[RemotePlace]:
    """The place that our records name, if the server has such a thread."""
    thread = await server.thread(row["thread_id"])
    if thread is None:
        return []
    return [
        RemotePlace(server.url, graph_id=thread.graph_id, assistant_id=thread.assistant_id, **row)
    ]


_GONE = Parked(
    "thread_gone",
    "the server has deleted the thread since it asked: there is nothing to resume",
)
