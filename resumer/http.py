"""Responses that every route gives the same way."""

from __future__ import annotations

from starlette.responses import JSONResponse

__all__ = ["RETRY_AFTER_SECONDS", "error_response", "unavailable"]

RETRY_AFTER_SECONDS = 5


def error_response(status: int, reason: str) -> JSONResponse:
    """`reason` as JSON."""
    return JSONResponse({"error": reason}, status_code=status)


def unavailable(reason: str) -> JSONResponse:
    """503: nothing was taken, try again."""
    response = error_response(503, reason)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
