"""The server's own limits, against real sockets."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from resumer import serving as module
from resumer.serving import serving


async def _hello(request: Request) -> PlainTextResponse:
    await asyncio.sleep(float(request.query_params.get("sleep", 0)))
    return PlainTextResponse("hello")


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.client.host if request.client else "")


APP = Starlette(routes=[Route("/", _hello), Route("/who", _who)])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Protocol, "head_seconds", 0.4)


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_who_does_not_finish_the_head_is_cut_off(sent: bytes) -> None:
    """A connection that sends nothing, or half of a request's head, is closed in time."""
    async with serving(APP) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rsplit(":")[-1]))
        writer.write(sent)
        start = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert 0.3 < time.monotonic() - start < 3
        writer.close()


async def test_a_slow_answer_is_not_a_slow_head() -> None:
    """Time the application takes is its own affair; the connection serves on afterwards."""
    async with serving(APP) as address, httpx.AsyncClient(base_url=address) as http:
        for _ in range(2):
            assert (await http.get("/", params={"sleep": 0.8})).text == "hello"


async def test_a_head_too_large_is_refused() -> None:
    """Headers have a limit."""
    async with serving(APP) as address, httpx.AsyncClient(base_url=address) as http:
        try:
            status = (await http.get("/", headers={"X-Large": "x" * 200_000})).status_code
        except (httpx.ReadError, httpx.WriteError):
            status = 400  # closed on while it was still sending, the answer lost on the way
        assert status == 400


@pytest.mark.parametrize(
    "proxies, client",
    [((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.9"), (("10.0.0.1",), "127.0.0.1")],
)
async def test_only_named_proxies_are_believed(proxies: tuple[str, ...], client: str) -> None:
    """Else whoever is on this machine could come from everywhere."""
    headers = {"X-Forwarded-For": "203.0.113.9"}
    async with (
        serving(APP, proxies=proxies) as address,
        httpx.AsyncClient(base_url=address, trust_env=False) as http,
    ):
        assert (await http.get("/who", headers=headers)).text == client
