"""Who may come in: sessions, signing in and out, and what every page's handler is wrapped in."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from resumer.model import utc_now
from resumer.telemetry import Seldom, get_logger
from resumer.tokens import Token, identify

from .attempts import Attempts
from .page_guard import comes_from_here
from .refusals import Refused
from .rendering import Visitor, root_of, show
from .sessions import LONGEST_SECONDS, Session, Sessions

__all__ = ["COOKIE", "Doorway"]

COOKIE = "resumer_session"
MOST_BYTES = 64 * 1024
RENEW_SECONDS = 60

_OURS = re.compile(r"/(ui/[!-~]*)?", re.ASCII)

log = get_logger()
complaints = Seldom(log)


def now_seconds() -> float:
    """The clock of sessions and attempts: seconds since 1970."""
    return time.time()


Inside = Callable[[Request, Visitor], Awaitable[Response]]


@dataclass(frozen=True)
class Doorway:
    """The sessions of these tokens."""

    tokens: Sequence[Token]
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def sessions(self) -> Sessions:
        """The sessions that the tokens open."""
        return Sessions(self.tokens)

    def inside(self, handler: Inside) -> Callable[[Request], Awaitable[Response]]:
        """A page for whoever has signed in; others are led to the door."""

        async def answer(request: Request) -> Response:
            session = self._session(request)
            visitor = None if session is None else self._visitor(session)
            if session is None or visitor is None:
                return self._outside(request)
            try:
                response = await handler(request, visitor)
            except Refused as refused:
                response = self.refusal(request, refused, visitor)
            self._renew(request, response, session)
            return response

        return answer

    async def form(self, request: Request) -> FormData:
        """The form that was sent, if it is one of this session's pages'. Raises `Refused`."""
        form, session = await _sent(request), self._session(request)
        word = form.get("form_word")
        if session is None or not isinstance(word, str) or not comes_from_here(request):
            raise _NOT_OUR_FORM
        if not self.sessions.is_form_word(session, word):
            raise _NOT_OUR_FORM
        return form

    async def login(self, request: Request) -> Response:
        """The page where a token is pasted, and what becomes of it."""
        if request.method != "POST":
            return self._ask(request)
        try:
            return await self._sign_in(request)
        except Refused as refused:
            return self._ask(request, status=refused.status, problem=refused)

    async def logout(self, request: Request) -> Response:
        """End the session in this browser."""
        session = self._session(request)
        if session is not None:
            try:
                await self.form(request)
            except Refused as refused:
                return self.refusal(request, refused, None)
        response = RedirectResponse(f"{root_of(request)}/ui/login?done=out", status_code=303)
        response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="strict")
        return response

    def refusal(self, request: Request, refused: Refused, visitor: Visitor | None) -> Response:
        """The page that says why not."""
        response = show(
            request,
            "refused.html",
            now=utc_now(),
            visitor=visitor,
            status=refused.status,
            refused=refused,
        )
        response.headers.update(refused.headers)
        return response

    # -- inside ----------------------------------------------------------------------------

    def _session(self, request: Request) -> Session | None:
        return self.sessions.read(request.cookies.get(COOKIE, ""), now_seconds())

    def _visitor(self, session: Session) -> Visitor | None:
        token = self.sessions.token_of(session)
        if token is None:
            return None
        return Visitor(token.name, token.may_act, self.sessions.form_word(session))

    def _outside(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return self.refusal(request, _SIGNED_OUT, None)
        if "x-live" in request.headers:
            return Response(status_code=401)
        site = request.headers.get("sec-fetch-site")
        if COOKIE not in request.cookies and site == "cross-site":
            return self._bounce(request)
        target = quote(_here(request).removeprefix(root_of(request)), safe="/")
        return RedirectResponse(f"{root_of(request)}/ui/login?next={target}", status_code=303)

    def _bounce(self, request: Request) -> Response:
        """A link from elsewhere comes without the cookie; followed from here it comes with it."""
        return show(request, "bounce.html", now=utc_now(), target=_here(request))

    def _ask(
        self, request: Request, *, status: int = 200, problem: Refused | None = None
    ) -> Response:
        session = self._session(request) or self.sessions.begin(None, now_seconds())
        response = show(
            request,
            "login.html",
            now=utc_now(),
            status=status,
            problem=problem,
            form_word=self.sessions.form_word(session),
            next=_next(request),
            done=request.query_params.get("done") == "out",
        )
        if problem is not None:
            response.headers.update(problem.headers)
        self._give(request, response, session)
        return response

    async def _sign_in(self, request: Request) -> Response:
        form = await self.form(request)
        now, address = now_seconds(), request.client.host if request.client else ""
        if wait := self.attempts.wait(address, now):
            raise _too_often(wait)
        given = form.get("token")
        bearer = f"Bearer {given.strip()}" if isinstance(given, str) else None
        token = identify(bearer, self.tokens)
        if token is None:
            self.attempts.note(address, now)
            complaints.warning("sign_in_refused", client=address)
            raise _UNKNOWN
        self.attempts.forget(address)
        log.info("signed_in", who=token.name, client=address)
        response = RedirectResponse(f"{root_of(request)}{_next(request)}", status_code=303)
        self._give(request, response, self.sessions.begin(token, now))
        return response

    def _renew(self, request: Request, response: Response, session: Session) -> None:
        # What the page asks by itself is no sign that somebody sits before it.
        if "x-live" not in request.headers and now_seconds() - session.seen >= RENEW_SECONDS:
            self._give(request, response, self.sessions.renew(session, now_seconds()))

    def _give(self, request: Request, response: Response, session: Session) -> None:
        is_https = request.url.scheme == "https"
        response.set_cookie(
            COOKIE,
            self.sessions.write(session),
            max_age=LONGEST_SECONDS,
            path=_path(request),
            secure=is_https or request.headers.get("x-forwarded-proto", "").startswith("https"),
            httponly=True,
            samesite="strict",
        )


async def _sent(request: Request) -> FormData:
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length[:9]) <= MOST_BYTES):
        raise Refused(413, "That is too much", "Nothing was done. Go back and send less.")
    return await request.form(max_files=0, max_fields=200)


_NOT_OUR_FORM = Refused(
    403,
    "This form is not from your session",
    "Nothing was done. Load the page again and send it once more.",
)
_SIGNED_OUT = Refused(403, "You are signed out", "Nothing was done. Sign in and do it again.")
_UNKNOWN = Refused(
    401,
    "That token is not one of ours",
    "Tokens are set in RESUMER_READ_TOKENS (to look) and RESUMER_ACT_TOKENS (to act as well).",
)


def _too_often(wait: int) -> Refused:
    minutes = -(-wait // 60)
    text = f"Try again in {minutes} minute{'s' if minutes > 1 else ''}."
    return Refused(429, "Too many attempts", text, {"Retry-After": str(wait)})


def _path(request: Request) -> str:
    return root_of(request) or "/"


def _here(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _next(request: Request) -> str:
    """Where to go after signing in: a page of ours, never somewhere else."""
    wanted = request.query_params.get("next", "/")
    return wanted if _OURS.fullmatch(wanted) else "/"
