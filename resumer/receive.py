"""The HTTP edge of a delivery: a capped raw body in, a status out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from looppause_sdk.errors import ProofInvalid, ProofMalformed

from .errors import DatabaseNotReady
from .http import error_response, unavailable
from .intake import Intake

__all__ = ["receive"]

SLOW_SECONDS = 20.0

_DIGITS = re.compile("[0-9]+")
_STATUS = {"accepted": 202, "duplicate": 200, "conflict": 200}


@dataclass(frozen=True)
class Refused(Exception):
    """A request that is answered without looking at what it says."""

    status: int
    error: str


async def receive(
    request: Request, intake: Intake, *, max_bytes: int, slow_seconds: float = SLOW_SECONDS
) -> JSONResponse:
    """Answer one delivery. An ack is only ever given for what is on disk."""
    try:
        _require_json(request)
        body = await _read(request, max_bytes, slow_seconds)
        receipt = await intake.accept(body)
    except Refused as refused:
        return _refusal(refused)
    except ProofMalformed as error:
        intake.complaints.warning("delivery_malformed", reason=str(error))
        return error_response(400, f"no usable proof: {error}")
    except ProofInvalid:
        client = request.client.host if request.client else None
        intake.complaints.warning("delivery_not_genuine", client=client)
        return error_response(401, "not genuine")
    except DatabaseNotReady as error:
        intake.complaints.warning("delivery_not_recorded", reason=str(error))
        return unavailable("not recorded; deliver it again later")
    return JSONResponse(
        {"status": receipt.result, "pause_id": receipt.pause_id},
        status_code=_STATUS[receipt.result],
    )


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").split(";")[0].strip()
    if media_type.lower() != "application/json" and not media_type.lower().endswith("+json"):
        raise Refused(415, "send the proof as application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "send the proof without content encoding")


async def _read(request: Request, max_bytes: int, slow_seconds: float) -> bytes:
    declared = request.headers.get("content-length", "")
    if _DIGITS.fullmatch(declared) and int(declared[:18]) > max_bytes:
        raise Refused(413, f"a proof has at most {max_bytes} bytes")
    try:
        async with asyncio.timeout(slow_seconds):
            return await _read_capped(request, max_bytes)
    except TimeoutError:
        raise Refused(408, "the body came too slowly") from None
    except ClientDisconnect:
        raise Refused(400, "the body was cut off") from None


async def _read_capped(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise Refused(413, f"a proof has at most {max_bytes} bytes")
    return bytes(body)


def _refusal(refused: Refused) -> JSONResponse:
    response = error_response(refused.status, refused.error)
    # What was not read may go on coming: closing is what stops a sender that has not finished.
    response.headers["Connection"] = "close"
    return response
