"""What every answer of the dashboard carries, and which requests it takes for its own."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PageGuard", "comes_from_here"]

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
FILES = {"Cache-Control": "public, max-age=31536000, immutable"}


class PageGuard:
    """ASGI middleware that adds the policy; `are_files` for those that never change."""

    def __init__(self, app: ASGIApp, *, are_files: bool = False) -> None:
        self.app = app
        self.policy: Mapping[str, str] = {**POLICY, **FILES} if are_files else POLICY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add the policy's headers to the answer."""

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self.policy)
                if message["status"] >= 400:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_policy)


def comes_from_here(request: HTTPConnection) -> bool:
    """Whether a form was sent by a page of this very site, as the browser says.

    Browsers leave `Sec-Fetch-Site` out on plain HTTP; then the origin has to be our own host.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host = request.headers.get("host", "")
    return urlsplit(request.headers.get("origin", "")).netloc == host != ""
