"""Request bodies, read only as far as they may go."""

from __future__ import annotations

from starlette.requests import Request

__all__ = ["MAX_BODY", "BodyTooLarge", "read_body"]

MAX_BODY = 256 * 1024


class BodyTooLarge(Exception):
    """The body is longer than `MAX_BODY` bytes."""


async def read_body(request: Request) -> bytes:
    """Return the whole body. Raises `BodyTooLarge` without reading further."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BodyTooLarge(f"The body is over {MAX_BODY // 1024} KiB.")
    return bytes(body)
