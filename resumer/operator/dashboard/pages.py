"""The dashboard's pages: the overview, the pauses, one of them, the agents, what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from looppause_sdk.proof import MAX_PAUSE_ID
from resumer.db import is_transient
from resumer.model import utc_now
from resumer.operator.acting import EVERY_AGENT
from resumer.operator.explaining import explain
from resumer.operator.views import Busy, Detail, Page
from resumer.telemetry import get_logger
from resumer.tokens import Token

from .attention import matters, resumed_last_hour
from .charts import draw
from .desk import Desk
from .doorway import Doorway
from .list_query import AGES, ListQuery
from .page_actions import PageActions
from .page_guard import PageGuard
from .refusals import NO_PAGE, NO_PAUSE, away, not_started
from .rendering import STATIC, Visitor, show, show_live
from .thread_views import ThreadView
from .timelines import asked_at, timeline

__all__ = ["Dashboard"]

ROWS = 50
OFF = "The dashboard is off: set RESUMER_READ_TOKENS or RESUMER_ACT_TOKENS.\n"
PERIODS = {1: "1 h", 24: "24 h", 168: "7 days"}

log = get_logger()

Shown = Callable[[Request, Visitor, Desk], Awaitable[Response]]


class Dashboard:
    """The routes of the dashboard; every one is 404 while there are no `tokens`.

    `desk` gives what the pages work with, or None while the receiver is not running.
    """

    def __init__(self, tokens: Sequence[Token], desk: Callable[[], Desk | None]) -> None:
        self._tokens = tuple(tokens)
        self._door = Doorway(self._tokens)
        self._desk = desk

    def routes(self) -> Sequence[BaseRoute]:
        """All of them, each with the policy's headers."""
        if not self._tokens:
            return [Route("/", _off), Route("/ui/{rest:path}", _off)]
        guard = [Middleware(PageGuard)]
        pages: dict[str, Shown] = {
            "/": self.overview,
            "/ui/pauses": self.pauses,
            "/ui/pauses/{pause_id:path}": self.pause,
            "/ui/agents": self.agents,
            "/ui/audit": self.audit,
        }
        actions = PageActions(self._door)
        asks = {f"/ui/{name}": handler for name, handler in actions.handlers().items()}
        files = [Middleware(PageGuard, are_files=True)]
        return [
            Mount("/ui/static", StaticFiles(directory=STATIC), middleware=files),
            Route("/ui/login", self._door.login, methods=["GET", "POST"], middleware=guard),
            Route("/ui/logout", self._door.logout, methods=["POST"], middleware=guard),
            *(
                Route(path, self._at_desk(handler), middleware=guard)
                for path, handler in pages.items()
            ),
            *(
                Route(path, self._at_desk(handler), methods=["GET", "POST"], middleware=guard)
                for path, handler in asks.items()
            ),
            Route("/ui/{rest:path}", self._at_desk(self.nothing), middleware=guard),
        ]

    async def overview(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        """The whole service at a glance."""
        now = utc_now()
        hours = _period(request.query_params.get("hours", ""))
        seen = await desk.reading.overview(now=now, hours=hours)
        chart = draw(seen.series, now)
        return _page(
            request,
            "overview.html",
            visitor,
            seen=seen,
            chart=chart,
            matters=matters(seen),
            last_hour=resumed_last_hour(seen),
            periods=PERIODS,
            now=now,
        )

    async def pauses(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        """The pauses that are asked for, the newest first."""
        now = utc_now()
        asked = ListQuery.of(request.query_params)
        wanted = asked.filter(now)
        try:
            page = await desk.reading.page(wanted, cursor=asked.cursor or None, limit=ROWS)
        except ValueError:  # a cursor that is none of ours, or of an older version
            page = Page((), None)
        found = await desk.reading.count(wanted)
        return _page(
            request,
            "pauses.html",
            visitor,
            asked=asked,
            page=page,
            found=found,
            ages=AGES,
            now=now,
        )

    async def pause(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        """Everything of one pause."""
        pause_id = request.path_params["pause_id"]
        if not 0 < len(pause_id) <= MAX_PAUSE_ID or not pause_id.isprintable():
            raise NO_PAUSE
        detail = await desk.reading.detail(pause_id)
        if detail is None:
            raise NO_PAUSE
        now = utc_now()
        return _page(
            request,
            "pause.html",
            visitor,
            detail=detail,
            row=detail.row,
            asked_at=asked_at(detail),
            steps=timeline(detail, now),
            explained=explain(detail, now, await desk.reading.surroundings()),
            thread=await _look(desk, detail),
            now=now,
        )

    async def agents(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        """The agents, and which of them are held."""
        held = {hold.agent_id: hold for hold in await desk.reading.holds()}
        busy = dict.fromkeys(held, Busy()) | dict(await desk.reading.agents())
        return _page(
            request,
            "agents.html",
            visitor,
            held=held,
            agents={name: busy[name] for name in sorted(busy) if name != EVERY_AGENT},
            now=utc_now(),
        )

    async def audit(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        """What operators did, the latest first."""
        entries = await desk.acting.audit(limit=200)
        return _page(request, "audit.html", visitor, entries=entries, now=utc_now())

    async def nothing(self, _request: Request, _visitor: Visitor, _desk: Desk) -> Response:
        """Any other address."""
        raise NO_PAGE

    def _at_desk(self, handler: Shown) -> Callable[[Request], Awaitable[Response]]:
        async def inside(request: Request, visitor: Visitor) -> Response:
            desk = self._desk()
            if desk is None:
                raise not_started()
            try:
                return await handler(request, visitor, desk)
            except Exception as error:
                if is_transient(error):
                    log.warning("page_not_shown", error=repr(error)[:300])
                    raise away() from error
                raise

        return self._door.inside(inside)


async def _off(_request: Request) -> Response:
    return PlainTextResponse(OFF, status_code=404)


def _page(request: Request, template: str, visitor: Visitor, **context: Any) -> Response:
    """The page; only what changes of it if the page itself asks."""
    draw_it = show_live if "x-live" in request.headers else show
    context["notice"] = request.query_params.get("done", "")
    return draw_it(request, template, visitor=visitor, **context)


def _period(given: str) -> int:
    return next((hours for hours in PERIODS if str(hours) == given), 24)


async def _look(desk: Desk, detail: Detail) -> ThreadView:
    if desk.threads is None:
        return ThreadView()
    row = detail.row
    return await desk.threads.look(row.pause_id, row.agent_id, row.thread_id)
