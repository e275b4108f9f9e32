"""The HTTP edge of a client that waits for an answer: a pause id in, the signed answer out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from looppause_sdk.proof import MAX_PAUSE_ID

from .errors import DatabaseNotReady, TooManyWaiting
from .http import error_response, unavailable
from .model import Standing
from .telemetry import Seldom, get_logger
from .tokens import Token, identify
from .waiting import WaitingRoom

__all__ = ["collect", "refusal"]

LONGEST_WAIT = 60
OFF = "nobody may read here: RESUMER_READ_TOKENS is not set"

_SECONDS = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?", re.ASCII)

log = get_logger()
complaints = Seldom(log)


def refusal(request: Request, tokens: Sequence[Token], *, off: str = OFF) -> JSONResponse | None:
    """The response to who may not read, or None. `off` is told where nobody may."""
    if not tokens:
        return error_response(404, off)
    if identify(request.headers.get("authorization"), tokens):
        return None
    complaints.warning("reading_refused", client=request.client and request.client.host)
    response = error_response(401, "the bearer token is missing or not one of ours")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def collect(request: Request, room: WaitingRoom) -> Response:
    """Answer with the proof as soon as there is one, else when the client's time is up."""
    pause_id = request.path_params["pause_id"]
    if not 0 < len(pause_id) <= MAX_PAUSE_ID or not pause_id.isprintable():
        return error_response(400, f"a pause id has 1 to {MAX_PAUSE_ID} printable characters")
    seconds = _seconds(request)
    if seconds is None:
        return error_response(400, f"wait must be a number of seconds from 0 to {LONGEST_WAIT}")
    try:
        standing = await _unless_gone(request, room, pause_id, seconds)
    except (DatabaseNotReady, TooManyWaiting) as error:
        return unavailable(str(error))
    if standing is None:
        return Response(status_code=499)  # seen by nobody: the client has gone
    if standing.body is not None and seconds > 0:
        await _note_collected(room, pause_id)
    return _answer(pause_id, standing)


def _seconds(request: Request) -> float | None:
    given = request.query_params.getlist("wait")
    if not given:
        return 0.0
    if len(given) > 1 or not _SECONDS.fullmatch(given[0]) or float(given[0]) > LONGEST_WAIT:
        return None
    # Whoever asks for the head alone takes nothing away.
    return float(given[0]) if request.method == "GET" else 0.0


async def _unless_gone(
    request: Request, room: WaitingRoom, pause_id: str, seconds: float
) -> Standing | None:
    """Wait as long as the client does; None if it has gone."""
    waiting = asyncio.create_task(room.wait(pause_id, seconds))
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else await waiting
    finally:
        for task in (waiting, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, DatabaseNotReady, TooManyWaiting):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _note_collected(room: WaitingRoom, pause_id: str) -> None:
    try:
        await room.pauses.note_collected(pause_id)
    except Exception as error:  # noqa: BLE001  (the answer goes out all the same)
        complaints.warning("collecting_not_noted", pause_id=pause_id, error=repr(error)[:300])
    log.info("collected", pause_id=pause_id)


def _answer(pause_id: str, standing: Standing) -> JSONResponse:
    proof = None if standing.body is None else standing.body.decode()
    return JSONResponse(
        {"pause_id": pause_id, "state": standing.state, "proof": proof},
        headers={"Cache-Control": "no-store"},
    )
