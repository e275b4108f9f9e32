"""What a server may answer that is no LangGraph server's usual answer, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from resumer.errors import GraphNotLoaded, RemoteAway, RemoteRefused
from resumer.remote.server import Server
from resumer.serving import serving

THREAD = {
    "thread_id": "01a20570-200d-7399-8633-dae195177be0",
    "status": "interrupted",
    "updated_at": "2026-11-22T22:46:05.020803+00:00",
    "metadata": {"graph_id": "agent"},
    "values": {"secret": "of the thread"},
    "interrupts": {"task": [{"id": "i1", "value": {"pause_id": "p1"}}, {"value": "no id"}]},
}


@asynccontextmanager
async def answering(*routes: Route) -> AsyncIterator[Server]:
    """A server that answers so."""
    async with (
        serving(Starlette(routes=list(routes)), lifespan="off") as url,
        Server(url, {"x-api-key": "the-key"}).running() as server,
    ):
        yield server


def searching(answer: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route("/threads/search", answer, methods=["POST"])


@pytest.mark.parametrize(
    "answer, error",
    [
        (JSONResponse({"detail": "who?"}, 401), RemoteRefused),
        (JSONResponse({"detail": "not you"}, 403), RemoteRefused),
        (JSONResponse({"detail": "slowly"}, 429), RemoteAway),
        (JSONResponse({"detail": "broken"}, 500), RemoteAway),
        (Response(status_code=503), RemoteAway),
        (Response("<html>a page</html>"), RemoteRefused),
        (RedirectResponse("https://elsewhere.example/", 307), RemoteRefused),
        (JSONResponse({"a": "thing"}), RemoteRefused),
        (JSONResponse([{"no": "thread"}]), RemoteRefused),
    ],
    ids=["401", "403", "429", "500", "503", "a page", "a redirect", "an object", "other things"],
)
async def test_what_is_no_answer(answer: Response, error: type[Exception]) -> None:
    """Away is waited for, what refuses or is no LangGraph server is told of; neither has the key."""

    async def search(_request: Request) -> Response:
        return answer

    async with answering(searching(search)) as server:
        with pytest.raises(error) as caught:
            [page async for page in server.pages("interrupted", None)]
    assert server.url in str(caught.value)
    assert "the-key" not in f"{caught.value!r} {server!r}"


async def test_an_older_server_sends_whole_threads() -> None:
    """It knows no `select` and no `ids`: threads are read all the same, and asked for by id."""
    asked: list[dict[str, Any]] = []

    async def search(request: Request) -> Response:
        asked.append(json.loads(await request.body()))
        if "select" in asked[-1]:
            return JSONResponse({"detail": "unknown field"}, 422)
        return JSONResponse([THREAD])

    other = "01a20570-0000-7399-8633-dae195177be0"

    async def get(request: Request) -> Response:
        return JSONResponse({**THREAD, "thread_id": other})

    async with answering(searching(search), Route(f"/threads/{other}", get)) as server:
        [[thread]] = [page async for page in server.pages("interrupted", None)]
        assert thread.interrupts == (("i1", {"pause_id": "p1"}),)
        found = await server.thread(other)
        assert found is not None
        assert found.thread_id == other
    assert ["select" in each for each in asked] == [True, False, False]


async def test_a_server_without_such_a_graph() -> None:
    """Neither by name nor by id, and whether it says 404 or nothing."""

    async def none(_request: Request) -> Response:
        return JSONResponse([])

    async with answering(Route("/assistants/search", none, methods=["POST"])) as server:
        for name in ("nobody", "01a20570-0000-7399-8633-dae195177be0"):
            with pytest.raises(GraphNotLoaded, match="has no graph or assistant"):
                await server.assistant(name)


async def test_a_server_that_is_not_there() -> None:
    """No connection: away."""
    async with Server("http://127.0.0.1:9", timeout=2.0).running() as server:
        with pytest.raises(RemoteAway, match="does not answer"):
            await server.thread(str(THREAD["thread_id"]))
