"""What an operator may do, each in two steps: a page that says what will happen, then the act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from resumer.model import State, utc_now
from resumer.operator.acting import EVERY_AGENT, RETRIABLE, NotPossible
from resumer.operator.limits import MOST_MATCHING, MOST_REASON
from resumer.operator.views import Detail, Filter

from .desk import Desk
from .doorway import Doorway
from .list_query import ListQuery
from .refusals import NO_PAUSE, Refused, read_only
from .rendering import Visitor, root_of, show

__all__ = ["PageActions"]

MOST_NAMED = 10

Handler = Callable[[Request, Visitor, Desk], Awaitable[Response]]


@dataclass(frozen=True)
class PageActions:
    """The two steps of every act. `door` knows whose forms are ours."""

    door: Doorway

    def handlers(self) -> Mapping[str, Handler]:
        """By the last part of their address."""
        acts: Mapping[str, Handler] = {
            "retry": self._retry,
            "retry-matching": self._retry_matching,
            "discard": self._discard,
            "hold": self._hold,
            "release": self._release,
        }
        return {name: _for_who_may(act) for name, act in acts.items()}

    async def _retry(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        detail = await _detail(request, desk)
        pause_id = detail.row.pause_id
        if request.method == "POST":
            await self.door.form(request)
            with _told_why_not():
                retried = await desk.acting.retry_one(pause_id, by=visitor.name)
            return _to_pause(request, pause_id, "retried" if retried else "not_retried")
        return _confirm(request, visitor, "retry", detail=detail, is_possible=_is_open(detail))

    async def _retry_matching(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        asked = ListQuery.of(request.query_params)
        wanted, acting = asked.filter(utc_now()), desk.acting
        is_dry = request.method != "POST"
        if not is_dry:
            await self.door.form(request)
        found = await acting.retry_matching(
            wanted, by=visitor.name, dry_run=is_dry, most=MOST_MATCHING
        )
        if not is_dry:
            return _to_list(request, asked, len(found))
        return _confirm(
            request,
            visitor,
            "retry-matching",
            asked=asked,
            matching=len(found),
            is_cut=len(found) >= MOST_MATCHING,
            named=found[:MOST_NAMED],
            is_possible=bool(found),
        )

    async def _discard(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        detail = await _detail(request, desk)
        pause_id = detail.row.pause_id
        if request.method == "POST":
            reason = await self._reason(request)
            with _told_why_not():
                await desk.acting.discard(pause_id, by=visitor.name, reason=reason)
            return _to_pause(request, pause_id, "discarded")
        return _confirm(request, visitor, "discard", detail=detail, is_possible=_is_open(detail))

    async def _hold(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        agent_id = _agent_id(request)
        if request.method == "POST":
            reason = await self._reason(request)
            await desk.acting.hold(agent_id, by=visitor.name, reason=reason)
            return _to_agents(request, "held")
        return await self._about_agent(request, visitor, desk, "hold")

    async def _release(self, request: Request, visitor: Visitor, desk: Desk) -> Response:
        agent_id = _agent_id(request)
        if request.method == "POST":
            await self.door.form(request)
            await desk.acting.release(agent_id, by=visitor.name)
            return _to_agents(request, "released")
        return await self._about_agent(request, visitor, desk, "release")

    async def _about_agent(
        self, request: Request, visitor: Visitor, desk: Desk, act: str
    ) -> Response:
        agent_id = _agent_id(request)
        agent = None if agent_id == EVERY_AGENT else agent_id
        running = Filter(states=(State.RESUMING,), agent_id=agent)
        due = Filter(states=(State.ANSWERED, State.FAILED), agent_id=agent)
        held = {hold.agent_id: hold for hold in await desk.reading.holds()}
        return _confirm(
            request,
            visitor,
            act,
            agent_id=agent_id,
            running=await desk.reading.count(running),
            due=await desk.reading.count(due),
            held=held.get(agent_id),
            is_possible=(agent_id in held) is (act == "release"),
        )

    async def _reason(self, request: Request) -> str | None:
        form = await self.door.form(request)
        given = form.get("reason")
        text = given.replace("\0", "").strip()[:MOST_REASON] if isinstance(given, str) else ""
        return text or None


def _for_who_may(act: Handler) -> Handler:
    async def handler(request: Request, visitor: Visitor, desk: Desk) -> Response:
        if not visitor.may_act:
            raise read_only()
        return await act(request, visitor, desk)

    return handler


async def _detail(request: Request, desk: Desk) -> Detail:
    pause_id = request.query_params.get("pause", "")
    detail = await desk.reading.detail(pause_id) if pause_id.isprintable() else None
    if detail is None:
        raise NO_PAUSE
    return detail


def _is_open(detail: Detail) -> bool:
    return detail.row.state in RETRIABLE


def _agent_id(request: Request) -> str:
    agent_id = request.query_params.get("agent", "").replace("\0", "").strip()[:MOST_REASON]
    if not agent_id:
        raise Refused(404, "Which agent?", "Choose one on the page of agents.")
    return agent_id


@contextmanager
def _told_why_not() -> Iterator[None]:
    try:
        yield
    except NotPossible as error:
        text = str(error)
        raise Refused(409, "That cannot be done now", f"{text[:1].upper()}{text[1:]}.") from error


def _confirm(request: Request, visitor: Visitor, act: str, **context: Any) -> Response:
    return show(
        request, "confirm.html", now=utc_now(), visitor=visitor, act=act, **{**_NOTHING, **context}
    )


_NOTHING: Mapping[str, Any] = {"detail": None, "asked": None, "agent_id": None, "held": None}


def _to_pause(request: Request, pause_id: str, done: str) -> Response:
    return _go(request, f"/ui/pauses/{quote(pause_id, safe='')}", {"done": done})


def _to_list(request: Request, asked: ListQuery, retried: int) -> Response:
    return _go(request, f"/ui/pauses{asked.first()}", {"done": f"retried-{retried}"})


def _to_agents(request: Request, done: str) -> Response:
    return _go(request, "/ui/agents", {"done": done})


def _go(request: Request, path: str, said: Mapping[str, str]) -> Response:
    mark = "&" if "?" in path else "?"
    target = f"{root_of(request)}{path}{mark}{urlencode(said)}"
    return RedirectResponse(target, status_code=303)
