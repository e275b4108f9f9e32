"""Reading a request's body: JSON by its type, capped, and not for ever."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from .http import RETRY_AFTER_SECONDS, error_response

__all__ = ["SLOW_SECONDS", "BodyRefused", "read_json_body"]

SLOW_SECONDS = 20.0
MOST_HELD = 64 * 1024 * 1024
SMALL = 16 * 1024  # many times what a proof has

_DIGITS = re.compile("[0-9]+")


@dataclass(frozen=True)
class BodyRefused(Exception):
    """A request that is answered without looking at what it says."""

    status: int
    error: str

    def response(self) -> JSONResponse:
        """The answer to it."""
        response = error_response(self.status, self.error)
        # What was not read may go on coming: closing stops a sender that has not finished.
        response.headers["Connection"] = "close"
        if self.status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


@dataclass
class _Held:
    """How much of bodies that are still coming this process holds, in bytes."""

    count: int = 0


_held = _Held()


async def read_json_body(
    request: Request, what: str, *, max_bytes: int, slow_seconds: float = SLOW_SECONDS
) -> bytes:
    """The body, as bytes; `what` is what it should be, for whoever sent something else.

    Raises `BodyRefused`.
    """
    _require_json(request, what)
    declared = request.headers.get("content-length", "")
    if _DIGITS.fullmatch(declared) and int(declared[:18]) > max_bytes:
        raise _too_large(what, max_bytes)
    try:
        async with asyncio.timeout(slow_seconds):
            return await _read_capped(request, what, max_bytes)
    except TimeoutError:
        raise BodyRefused(408, "the body came too slowly") from None
    except ClientDisconnect:
        raise BodyRefused(400, "the body was cut off") from None


def _require_json(request: Request, what: str) -> None:
    media_type = request.headers.get("content-type", "application/json").split(";")[0].strip()
    if media_type.lower() != "application/json" and not media_type.lower().endswith("+json"):
        raise BodyRefused(415, f"send {what} as application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise BodyRefused(415, f"send {what} without content encoding")


async def _read_capped(request: Request, what: str, max_bytes: int) -> bytes:
    """As they come. When strangers fill the room for it, large bodies wait and small ones pass."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            _held.count += len(chunk)
            if len(body) > max_bytes:
                raise _too_large(what, max_bytes)
            if _held.count > MOST_HELD and len(body) > SMALL:
                raise BodyRefused(503, "too much is being sent here at once: try again")
        return bytes(body)
    finally:
        _held.count -= len(body)


def _too_large(what: str, max_bytes: int) -> BodyRefused:
    return BodyRefused(413, f"{what} has at most {max_bytes} bytes")
