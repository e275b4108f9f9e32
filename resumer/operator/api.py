"""The operator API: what the dashboard and the shell do, as JSON for bearers of a token."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from resumer.bodies import BodyRefused, read_json_body
from resumer.db import is_transient
from resumer.http import unavailable
from resumer.model import utc_now
from resumer.telemetry import Seldom, get_logger
from resumer.tokens import Token, identify

from .acting import Acting, NotPossible, UnknownPause
from .asking import (
    FILTERS,
    Asked,
    BadRequest,
    filter_of,
    flag,
    name_of,
    object_of,
    text_of,
    whole_number,
)
from .explaining import explain
from .limits import LONGEST_HOURS, MOST_AUDIT, MOST_BYTES, MOST_MATCHING, MOST_REASON
from .openapi import document
from .reading import MOST_ROWS, Reading
from .shapes import Audit, Discarded, Matching, Refusal, Retried, Sent, json_of
from .views import Detail

__all__ = ["Operating", "OperatorApi"]

log = get_logger()
complaints = Seldom(log)


@dataclass(frozen=True)
class Operating:
    """What the API works with while the receiver runs."""

    reading: Reading
    acting: Acting


@dataclass(frozen=True)
class Call:
    """A request that was let in, `by` whom, and what it can be answered with."""

    request: Request
    by: str
    reading: Reading
    acting: Acting

    @property
    def pause_id(self) -> str:
        """The pause in the address. Raises `BadRequest`."""
        return name_of("pause_id", self.request.path_params["pause_id"])

    @property
    def agent_id(self) -> str:
        """The agent in the address. Raises `BadRequest`."""
        return name_of("agent_id", self.request.path_params["agent_id"])

    def query(self, *known: str) -> Asked:
        """The parameters of the address. Raises `BadRequest`."""
        return Asked.of_query(self.request.query_params, known)

    async def body(self, *known: str) -> Asked:
        """The members of the body; there may be none. Raises `BadRequest`, `BodyRefused`."""
        self.query()
        text = await read_json_body(self.request, "the body", max_bytes=MOST_BYTES)
        return Asked.of_body(object_of("body", text), known)


Handler = Callable[[Call], Awaitable[Sent | None]]


@dataclass(frozen=True)
class OperatorApi:
    """The routes under `/api`; every one is 404 while there are no `tokens`.

    `operating` gives what they work with, or None while the receiver is not running.
    """

    tokens: Sequence[Token]
    operating: Callable[[], Operating | None]

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        pause = "/pauses/{pause_id:path}"
        routes = [
            Route("/openapi.json", self._document),
            self._route("/overview", GET=_overview),
            self._route("/audit", GET=_audit),
            self._route("/pauses", GET=_page),
            self._route("/pauses/retry", POST=_retry_matching),
            self._route(f"{pause}/retry", POST=_retry),
            self._route(f"{pause}/discard", POST=_discard),
            self._route(f"{pause}/explanation", GET=_explanation),
            self._route(pause, GET=_detail),
            self._route("/agents/{agent_id:path}/hold", GET=_held, PUT=_hold, DELETE=_release),
        ]
        mount = Mount("/api", Router(routes, default=self._nothing))
        # Starlette's own stops at a line break, and such an id would be answered by the host.
        mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
        return [mount]

    async def _document(self, request: Request) -> Response:
        if not self.tokens:
            return _off()
        return JSONResponse(document(request.scope.get("root_path", "").removesuffix("/api")))

    async def _nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        nothing = _refused(404, "there is nothing here: see /api/openapi.json")
        await (nothing if self.tokens else _off())(scope, receive, send)

    def _route(self, path: str, **handlers: Handler) -> Route:
        """What may be done there, by method; all but GET is acting."""

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(request, handlers[method], acts=method != "GET")

        return Route(path, answer, methods=list(handlers))

    async def _answer(self, request: Request, handler: Handler, *, acts: bool) -> Response:
        if not self.tokens:
            return _off()
        token = identify(request.headers.get("authorization"), self.tokens)
        if token is None:
            return _unauthorized(request)
        if acts and not token.may_act:
            return _refused(403, f"{token.name} may look and not act: use an act token")
        operating = self.operating()
        if operating is None:
            return unavailable("the receiver is not started: try again")
        call = Call(request, token.name, operating.reading, operating.acting)
        return await _answered(handler, call)


async def _answered(handler: Handler, call: Call) -> Response:
    """The handler's answer; every fault becomes one of ours, and none shows its inside."""
    try:
        sent = await handler(call)
    except BadRequest as error:
        return _refused(400, str(error), error.parameter)
    except BodyRefused as error:
        return error.response()
    except UnknownPause as error:
        return _refused(404, str(error))
    except NotPossible as error:
        return _refused(409, str(error))
    except Exception as error:
        if not is_transient(error):
            raise
        complaints.warning("operator_not_answered", error=repr(error)[:300])
        return unavailable("the database does not answer, or took too long: try again")
    return Response(status_code=204) if sent is None else _json(200, json_of(sent))


async def _overview(call: Call) -> Sent:
    hours = call.query("hours").read("hours", whole_number(1, LONGEST_HOURS), 24)
    return await call.reading.overview(now=utc_now(), hours=hours)


async def _page(call: Call) -> Sent:
    asked = call.query(*FILTERS, "cursor", "limit")
    limit = asked.read("limit", whole_number(1, MOST_ROWS), 50)
    cursor, wanted = asked.read("cursor", text_of, None), filter_of(asked)
    try:
        return await call.reading.page(wanted, cursor=cursor, limit=limit)
    except ValueError as error:
        raise BadRequest("cursor", str(error)) from error


async def _detail(call: Call) -> Sent:
    return await _known(call)


async def _explanation(call: Call) -> Sent:
    detail = await _known(call)
    return explain(detail, utc_now(), await call.reading.surroundings())


async def _retry(call: Call) -> Sent:
    call.query()
    retried = await call.acting.retry_one(call.pause_id, by=call.by)
    return Retried(call.pause_id, retried)


async def _retry_matching(call: Call) -> Sent:
    asked = await call.body("filter", "dry_run", "most")
    nothing: Mapping[str, Any] = {}
    wanted = filter_of(Asked.of_body(asked.read("filter", object_of, nothing), FILTERS))
    dry_run = asked.read("dry_run", flag, otherwise=True)
    most = asked.read("most", whole_number(1, MOST_MATCHING), MOST_MATCHING)
    found = await call.acting.retry_matching(wanted, by=call.by, dry_run=dry_run, most=most)
    return Matching(dry_run, len(found), found)


async def _discard(call: Call) -> Sent:
    reason = await _reason(call)
    discarded = await call.acting.discard(call.pause_id, by=call.by, reason=reason)
    return Discarded(call.pause_id, discarded)


async def _held(call: Call) -> Sent:
    call.query()
    agent_id = call.agent_id
    held = {held.agent_id: held for held in await call.reading.holds()}
    if agent_id not in held:
        raise UnknownPause(f"{agent_id} is not held")
    return held[agent_id]


async def _hold(call: Call) -> Sent:
    reason = await _reason(call)
    await call.acting.hold(call.agent_id, by=call.by, reason=reason)
    return await _held(call)


async def _release(call: Call) -> None:
    call.query()
    await call.acting.release(call.agent_id, by=call.by)


async def _audit(call: Call) -> Sent:
    limit = call.query("limit").read("limit", whole_number(1, MOST_AUDIT), 100)
    return Audit(await call.acting.audit(limit=limit))


async def _known(call: Call) -> Detail:
    call.query()
    pause_id = call.pause_id
    detail = await call.reading.detail(pause_id)
    if detail is None:
        raise UnknownPause(f"no pause {pause_id} has been seen here")
    return detail


async def _reason(call: Call) -> str | None:
    asked = await call.body("reason")
    reason = asked.read("reason", text_of, None)
    if reason is not None and len(reason) > MOST_REASON:
        raise BadRequest("reason", f"must have at most {MOST_REASON} characters")
    return reason


def _json(status: int, body: bytes) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(body, status, media_type="application/json", headers=headers)


def _refused(status: int, error: str, parameter: str | None = None) -> Response:
    return _json(status, json_of(Refusal(error, parameter)))


def _unauthorized(request: Request) -> Response:
    complaints.warning("operator_refused", client=request.client and request.client.host)
    response = _refused(401, "the bearer token is missing or not one of ours")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _off() -> Response:
    return _refused(404, "the API is off: set RESUMER_READ_TOKENS or RESUMER_ACT_TOKENS")
