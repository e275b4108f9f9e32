"""The inbox page: what waits, what was answered, and the forms that decide."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from looppause_sdk.errors import LoopPauseRequestError
from looppause_sdk.proof import key_id
from looppause_sdk.testing import FakeLoopPause

from .body import BodyTooLarge, read_body
from .delivery import Deliverer
from .forms import read_answers, read_form
from .guard import PageGuard
from .rendering import STATIC, assets_version, render
from .trials import DEFAULT_SECONDS, LATEST_SECONDS, trials_for, try_out
from .views import Wanted, show_inbox, show_pause

__all__ = ["InboxPage"]

NAME_COOKIE = "looppause_inbox_name"
MAX_INPUTS = 500


class InboxPage:
    """The routes of the page. `responder` is the name it suggests before one was given.

    `dashboard` is the address of the receiver's dashboard, None if it has none.
    """

    def __init__(
        self,
        fake: FakeLoopPause,
        deliveries: Deliverer,
        *,
        responder: str,
        dashboard: str | None = None,
    ) -> None:
        self._fake = fake
        self._deliveries = deliveries
        self._responder = responder
        self._dashboard = dashboard and dashboard.rstrip("/")
        self._changes = itertools.count(1)
        self._version = _boot_version(fake)
        fake.listeners.append(self._on_change)

    def routes(self, allowed_hosts: Collection[str]) -> Sequence[BaseRoute]:
        """All the page's routes, each behind the guard."""
        guard = [Middleware(PageGuard, allowed_hosts)]
        acts = {"decide": self.decide, "redeliver": self.redeliver, "try": self.try_out}
        return [
            Route("/", self.home, middleware=guard, name="inbox"),
            Route("/updates", self.updates, middleware=guard),
            Route("/pauses/{pause_id}", self.pause, middleware=guard),
            *(
                Route(f"/pauses/{{pause_id}}/{verb}", act, methods=["POST"], middleware=guard)
                for verb, act in acts.items()
            ),
            Mount("/static", StaticFiles(directory=STATIC), middleware=guard),
        ]

    async def home(self, request: Request) -> Response:
        """The inbox with its newest waiting pause, or the first of those that were looked for."""
        return self._page(request, self._first(request), home=True)

    async def pause(self, request: Request) -> Response:
        """The inbox with one pause chosen."""
        document = self._document(request)
        return self._missing(request) if document is None else self._page(request, document)

    async def updates(self, request: Request) -> Response:
        """What changed since the page was drawn: its list and its pause, as HTML in JSON."""
        version = self._current_version()
        if request.query_params.get("have") == version:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        chosen = request.query_params.get("pause")
        document = self._find(chosen) if chosen else self._newest_waiting()
        context = self._context(request, document)
        return JSONResponse(
            {
                "version": version,
                "waiting": context["inbox"].all_waiting,
                "list": render("_list.html", context),
                "detail": render("_detail.html", context),
            }
        )

    async def decide(self, request: Request) -> Response:
        """Take the page's decision; show what is wrong with it, or how the pause ended."""
        document = self._document(request)
        if document is None:
            return self._missing(request)
        try:
            sent = await _read_form_body(request)
        except BodyTooLarge as error:
            return self._page(request, document, status=413, notice=str(error))
        decision = sent.get("decision", "")
        inputs = read_form(document["request"].get("form"))
        fields, problems = read_answers(inputs, sent, strict=decision == "approved")
        if problems and decision == "approved":
            return self._page(request, document, status=422, sent=sent, problems=problems)
        try:
            self._fake.decide(
                document["pause_id"],
                decision,
                responder=sent.get("responder", "").strip(),
                comment=sent.get("comment", "").replace("\r\n", "\n").strip() or None,
                fields=fields if inputs else None,
            )
        except LoopPauseRequestError as error:
            return self._refused(request, error, sent)
        return self._decided(request, sent["responder"].strip())

    async def redeliver(self, request: Request) -> Response:
        """Send a proof again."""
        if self._document(request) is None:
            return self._missing(request)
        self._deliveries.redeliver(request.path_params["pause_id"])
        return _to_pause(request)

    async def try_out(self, request: Request) -> Response:
        """Answer or deliver oddly, for a test."""
        document = self._document(request)
        if document is None:
            return self._missing(request)
        try:
            sent = await _read_form_body(request)
            try_out(self._fake, self._deliveries, document, sent, self._name(request))
        except BodyTooLarge as error:
            return self._page(request, document, status=413, notice=str(error))
        except LoopPauseRequestError as error:
            return self._refused(request, error, {})
        return _to_pause(request)

    # -- inside ----------------------------------------------------------------------------

    def _on_change(self, _document: Mapping[str, Any]) -> None:
        self._version = f"{self._version.partition('-')[0]}-{next(self._changes)}"

    def _current_version(self) -> str:
        self._fake.tick()
        return self._version

    def _find(self, pause_id: str) -> dict[str, Any] | None:
        try:
            return self._fake.document(pause_id)
        except LoopPauseRequestError:
            return None

    def _document(self, request: Request) -> dict[str, Any] | None:
        return self._find(request.path_params["pause_id"])

    def _first(self, request: Request) -> Mapping[str, Any] | None:
        wanted = Wanted.of(request.query_params)
        if not wanted.query:
            return self._newest_waiting()
        inbox = show_inbox(self._fake.documents(), wanted)
        return next((view.document for view in (*inbox.waiting, *inbox.answered)), None)

    def _newest_waiting(self) -> dict[str, Any] | None:
        return next((d for d in self._fake.documents() if d["proof"] is None), None)

    def _name(self, request: Request) -> str:
        """Who sits there, as far as was said."""
        return request.cookies.get(NAME_COOKIE) or self._responder

    def _context(
        self, request: Request, document: Mapping[str, Any] | None, **more: Any
    ) -> dict[str, Any]:
        version = self._current_version()
        return {
            "root": request.scope.get("root_path", ""),
            "base_url": str(request.base_url).rstrip("/"),
            "version": version,
            "assets": assets_version(),
            "inbox": show_inbox(self._fake.documents(), Wanted.of(request.query_params)),
            "pause": None if document is None else show_pause(document),
            "now": self._fake.clock(),
            "scheme": self._fake.scheme,
            "key": _key_name(self._fake),
            "public_key": self._fake.public_key,
            "any_api_key": self._fake.api_key is None,
            "dropping": not self._deliveries.deliver or self._deliveries.drop_rate > 0,
            "responder": self._name(request),
            "dashboard": self._dashboard,
            "trials": [] if document is None else trials_for(document),
            "seconds": DEFAULT_SECONDS,
            "most_seconds": LATEST_SECONDS,
            "sent": {},
            "problems": {},
            "notice": "",
            "home": False,
            **more,
        }

    def _page(
        self,
        request: Request,
        document: Mapping[str, Any] | None,
        *,
        status: int = 200,
        **more: Any,
    ) -> Response:
        context = self._context(request, document, **more)
        return HTMLResponse(render("inbox.html", context), status_code=status)

    def _missing(self, request: Request) -> Response:
        notice = "There is no such pause. Without a file, the emulator forgets when it stops."
        return self._page(request, None, status=404, notice=notice)

    def _refused(
        self, request: Request, error: LoopPauseRequestError, sent: Mapping[str, str]
    ) -> Response:
        document = self._document(request)
        status = error.status_code
        return self._page(request, document, status=status, sent=sent, notice=_sentence(error))

    def _decided(self, request: Request, responder: str) -> Response:
        response = _to_pause(request)
        path = request.scope.get("root_path", "") or "/"
        response.set_cookie(
            NAME_COOKIE, responder, path=path, max_age=31536000, httponly=True, samesite="strict"
        )
        return response


def _boot_version(fake: FakeLoopPause) -> str:
    # Another process has other numbers: a page left open over a restart must notice.
    return hashlib.sha256(f"{fake.clock()}{id(fake)}".encode()).hexdigest()[:12] + "-0"


def _key_name(fake: FakeLoopPause) -> str:
    if fake.scheme == "hmac":
        return key_id(fake.secret)
    return key_id(fake.private_key.public_key())


def _sentence(error: Exception) -> str:
    text = str(error).replace("`", "")
    return f"{text[:1].upper()}{text[1:]}."


def _to_pause(request: Request) -> RedirectResponse:
    root, pause_id = request.scope.get("root_path", ""), request.path_params["pause_id"]
    query = Wanted.of(request.query_params).query
    return RedirectResponse(f"{root}/pauses/{pause_id}{query}", status_code=303)


async def _read_form_body(request: Request) -> dict[str, str]:
    text = (await read_body(request)).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_INPUTS))
    except ValueError:
        return {}
