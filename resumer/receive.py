"""The HTTP edge of a delivery: a capped raw body in, a status out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse

from looppause_sdk.errors import ProofInvalid, ProofMalformed

from .addresses import Senders
from .bodies import SLOW_SECONDS, BodyRefused, read_json_body
from .errors import DatabaseNotReady
from .http import error_response, unavailable
from .intake import Intake

__all__ = ["receive"]

EVERYBODY = Senders()
_STATUS = {"accepted": 202, "duplicate": 200, "conflict": 200}


async def receive(
    request: Request,
    intake: Intake,
    *,
    max_bytes: int,
    slow_seconds: float = SLOW_SECONDS,
    senders: Senders = EVERYBODY,
) -> JSONResponse:
    """Answer one delivery. An ack is only ever given for what is on disk."""
    # The sender's own trace is not gone on with: anybody could name one.
    with intake.tracing.span("resumer.receive", "server") as span:
        if senders.admit(request):
            response = await _receive(request, intake, max_bytes, slow_seconds)
        else:
            response = _from_elsewhere(request, intake)
        span.note(status=response.status_code)
        return response


def _from_elsewhere(request: Request, intake: Intake) -> JSONResponse:
    client = request.client.host if request.client else None
    forwarded = ", ".join(request.headers.getlist("x-forwarded-for"))[:200]
    intake.metrics.delivered("refused")
    intake.complaints.warning("delivery_from_elsewhere", client=client, forwarded_for=forwarded)
    return BodyRefused(403, "forbidden").response()


async def _receive(
    request: Request, intake: Intake, max_bytes: int, slow_seconds: float
) -> JSONResponse:
    try:
        body = await read_json_body(
            request, "the proof", max_bytes=max_bytes, slow_seconds=slow_seconds
        )
        receipt = await intake.accept(body)
    except BodyRefused as refused:
        intake.metrics.delivered("refused")
        return refused.response()
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
