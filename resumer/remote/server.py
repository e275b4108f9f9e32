"""One LangGraph server, asked through its own client library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import (
    APIStatusError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

from resumer.errors import GraphNotLoaded, RemoteAway, RemoteRefused

from .seen import ServerRun, ServerThread, Snapshot

__all__ = ["Assistant", "Server"]

PAGE = 200
OVERLAP = 20  # rows read twice: threads that move on meanwhile draw the later ones forward
MOST_PAGES = 1000
RUNS = 20
CONNECT_SECONDS = 5.0
THREAD_FIELDS: Any = ["thread_id", "status", "updated_at", "metadata", "interrupts"]
STATE_FIELDS: Any = ["tasks", "checkpoint", "created_at"]
RUN_FIELDS: Any = ["run_id", "status", "metadata"]


@dataclass(frozen=True)
class Assistant:
    """What a graph is registered as: `name` is how the server knows it."""

    server: Server
    name: str
    graph_id: str


@dataclass
class Server:
    """The server at `url`, while `running`. `headers` hold the key and are never shown.

    `timeout` is seconds for each answer.

    Whatever is asked of it raises `RemoteAway` where it does not answer, or not for the moment,
    and `RemoteRefused` where it lets nobody in or is no such server.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 30.0
    _client: LangGraphClient | None = field(default=None, repr=False)
    _can_trim: bool = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        """Hold connections to it open."""
        timeout = httpx.Timeout(self.timeout, connect=min(CONNECT_SECONDS, self.timeout))
        async with httpx.AsyncClient(
            base_url=self.url, headers=dict(self.headers), timeout=timeout
        ) as http:
            self._client = LangGraphClient(http)
            try:
                yield self
            finally:
                self._client = None

    async def assistant(self, name: str) -> Assistant:
        """The assistant of this id, or the graph of this name. Raises `GraphNotLoaded`."""
        with self._asking(), _none_such(f"{self.url} has no graph or assistant {name!r}"):
            if _is_uuid(name):
                found = await self._asked.assistants.get(name)
                return Assistant(self, name, found["graph_id"])
            if await self._asked.assistants.search(graph_id=name, limit=1):
                return Assistant(self, name, name)
        raise GraphNotLoaded(f"{self.url} has no graph or assistant {name!r}")

    async def pages(self, status: Any, since: datetime | None) -> AsyncIterator[list[ServerThread]]:
        """Its threads of this status that changed since then, the last changed first."""
        for number in range(MOST_PAGES):
            offset = number * (PAGE - OVERLAP)
            page = await self._search(status=status, limit=PAGE, offset=offset)
            fresh = [thread for thread in page if since is None or thread.updated_at >= since]
            if fresh:
                yield fresh
            if len(page) < PAGE or len(fresh) < len(page):
                return

    async def thread(self, thread_id: str) -> ServerThread | None:
        """The thread, or None if there is none."""
        if not _is_uuid(thread_id):
            return None
        found = await self._search(ids=[thread_id], limit=1)
        if not found or found[0].thread_id == thread_id:
            return found[0] if found else None
        with self._asking():  # an older server, which knows no `ids`
            try:
                return ServerThread.of({**await self._asked.threads.get(thread_id)})
            except NotFoundError:
                return None

    async def snapshot(self, thread_id: str) -> Snapshot | None:
        """The thread with its runs and its state, or None if there is none.

        The state comes last: a run that has ended by then shows in it.
        """
        thread = await self.thread(thread_id)
        if thread is None:
            return None
        with self._asking():
            try:
                runs = await self._asked.runs.list(thread_id, limit=RUNS, select=RUN_FIELDS)
                state = await self._asked.threads.get_state(thread_id, select=STATE_FIELDS)
            except NotFoundError:
                return None
            return Snapshot.of(thread, tuple(ServerRun.of({**run}) for run in runs), {**state})

    async def start(
        self, thread_id: str, assistant: str, command: Any, metadata: Mapping[str, Any]
    ) -> ServerRun | None:
        """Start a run of the thread, or None if another one is going on.

        `command` None goes on where the last run was cut off. A thread that is not there is not
        made.
        """
        with self._asking():
            try:
                run = await self._asked.runs.create(
                    thread_id,
                    assistant,
                    command=command,
                    metadata=metadata,
                    # LangGraph's strict resume: a private key, and ignored where it is unknown.
                    config={"configurable": {"__pregel_strict_resume": command is not None}},
                    multitask_strategy="reject",
                    if_not_exists="reject",
                    durability="sync",
                )
            except ConflictError:
                return None
        return ServerRun.of({**run})

    async def run(self, thread_id: str, run_id: str) -> ServerRun | None:
        """The run, or None if it is not there any more."""
        with self._asking():
            try:
                return ServerRun.of({**await self._asked.runs.get(thread_id, run_id)})
            except NotFoundError:
                return None

    async def error(self, thread_id: str) -> str:
        """What the thread's last run raised, in the server's words; empty if nothing."""
        with self._asking():
            try:
                thread: Any = await self._asked.threads.get(thread_id)
            except NotFoundError:
                return ""
            found = thread.get("error")
            if isinstance(found, Mapping):
                return f"{found.get('error')}: {found.get('message')}"
            return str(found or "")

    async def _search(self, **wanted: Any) -> list[ServerThread]:
        fields = THREAD_FIELDS if self._can_trim else None
        with self._asking():
            try:
                found = await self._asked.threads.search(
                    sort_by="updated_at", sort_order="desc", select=fields, **wanted
                )
            except UnprocessableEntityError:
                if fields is None:
                    raise
            else:
                return [ServerThread.of({**thread}) for thread in found]
        self._can_trim = False  # an older server: it sends whole threads
        return await self._search(**wanted)

    @property
    def _asked(self) -> LangGraphClient:
        if self._client is None:
            raise RuntimeError("the server's client is not running")
        return self._client

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what the library raises into what the rules know."""
        try:
            yield
        except httpx.TransportError as error:
            raise RemoteAway(f"{self.url} does not answer ({type(error).__name__})") from None
        except APIStatusError as error:
            status, said = error.status_code, _line(error)
            if status == 429 or status >= 500:
                raise RemoteAway(f"{self.url} answers {status}: {said}") from None
            raise RemoteRefused(f"{self.url} answers {status}: {said}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RemoteRefused(
                f"{self.url} does not answer as a LangGraph server does ({type(error).__name__})"
            ) from None


@contextmanager
def _none_such(what: str) -> Iterator[None]:
    try:
        yield
    except NotFoundError:
        raise GraphNotLoaded(what) from None


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _line(error: APIStatusError) -> str:
    return " ".join(error.message.split())[:200]
