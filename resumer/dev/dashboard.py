"""The dashboard beside the inbox: this machine's browser is signed in by following a link."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from resumer.emulator.guard import PageGuard
from resumer.operator.dashboard.doorway import COOKIE
from resumer.operator.dashboard.sessions import LONGEST_SECONDS, Sessions
from resumer.tokens import Token

__all__ = ["ENTRY", "LocalDashboard"]

ENTRY = "/dashboard"


@dataclass(frozen=True)
class LocalDashboard:
    """Where the receiver is mounted (`root`), and the token of whoever sits at this machine.

    Who gets to the inbox may approve; the dashboard next to it asks for no more.
    """

    root: str
    token: str = field(repr=False)

    @classmethod
    def beside(cls, root: str, secret: str) -> LocalDashboard:
        """The token follows from the inbox's own secret, so that a restart signs nobody out."""
        digest = hashlib.sha256(f"dashboard {secret}".encode()).hexdigest()
        return cls(root, f"you@localhost:{digest}")

    def routes(self, tokens: Sequence[Token]) -> Sequence[Route]:
        """The link's targets; `tokens` are all that the receiver knows, this one among them."""
        mine = Token.of(self.token, "act")

        async def enter(request: Request) -> RedirectResponse:
            pause_id = request.path_params.get("pause_id")
            page = f"/ui/pauses/{pause_id}" if pause_id else "/"
            response = RedirectResponse(f"{self.root}{page}", status_code=303)
            sessions = Sessions(tokens)
            session = sessions.write(sessions.begin(mine, time.time()))
            response.set_cookie(COOKIE, session, max_age=LONGEST_SECONDS, **self._cookie)
            return response

        guard = [Middleware(PageGuard)]
        paths = (ENTRY, f"{ENTRY}/", f"{ENTRY}/pauses/{{pause_id}}")
        return [Route(path, enter, methods=["GET"], middleware=guard) for path in paths]

    @property
    def _cookie(self) -> dict[str, Any]:
        return {"path": self.root, "httponly": True, "samesite": "strict"}
