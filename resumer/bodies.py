"""Reading a request's body: JSON by its type, capped, and not for ever."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from .http import error_response

__all__ = ["SLOW_SECONDS", "BodyRefused", "read_json_body"]

SLOW_SECONDS = 20.0

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
        return response


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
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(what, max_bytes)
    return bytes(body)


def _too_large(what: str, max_bytes: int) -> BodyRefused:
    return BodyRefused(413, f"{what} has at most {max_bytes} bytes")
