"""Bodies that many send at once: what strangers hold is bounded, and small ones still pass."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from resumer import bodies
from resumer.bodies import BodyRefused, read_json_body


def sender(*chunks: bytes, then: asyncio.Event | None = None) -> Request:
    """A request that sends these, then nothing more before `then`."""
    coming = list(chunks)

    async def receive() -> dict[str, Any]:
        if coming:
            return {"type": "http.request", "body": coming.pop(0), "more_body": True}
        if then is not None:
            await then.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_what_strangers_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the room is full a large body is told to come again, and a proof is taken."""
    monkeypatch.setattr(bodies, "MOST_HELD", 50_000)
    go_on = asyncio.Event()
    slow = asyncio.create_task(
        read_json_body(sender(b"x" * 40_000, then=go_on), "it", max_bytes=100_000)
    )
    await asyncio.sleep(0)
    assert bodies._held.count == 40_000
    with pytest.raises(BodyRefused) as refused:
        await read_json_body(sender(b"x" * 10_000, b"x" * 10_000), "it", max_bytes=100_000)
    response = refused.value.response()
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert len(await read_json_body(sender(b"x" * 15_000), "it", max_bytes=100_000)) == 15_000
    go_on.set()
    assert len(await slow) == 40_000
    assert len(await read_json_body(sender(b"x" * 49_000), "it", max_bytes=100_000)) == 49_000
    assert bodies._held.count == 0
