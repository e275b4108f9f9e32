"""Behind a tunnel: the webhook's public address, whether it leads here, and what else does not."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.markup import escape
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from resumer.errors import SettingsError

__all__ = ["HOW", "PATH", "ROOT", "Exposed", "explain", "is_this_machine"]

ROOT = "/resumer"
PATH = f"{ROOT}/webhooks/looppause"
HOW = "how"
TIMEOUT_SECONDS = 10.0
AGAIN_SECONDS = 3.0
# What a tunnel or proxy adds, also where it puts another Host in.
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "cf-connecting-ip", "x-real-ip")


@dataclass(frozen=True)
class Exposed:
    """A public address that is to lead to this receiver: `base` without the webhook's path.

    `marker` is what tells this receiver from any other that may answer there.
    """

    base: str
    marker: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)

    @classmethod
    def at(cls, url: str) -> Exposed:
        """Read what was given with `--expose`. Raises `SettingsError`."""
        base = url.strip().rstrip("/").removesuffix(PATH)
        try:
            parts = urlsplit(base)
            usable = bool(parts.scheme in ("http", "https") and parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or parts.username:
            raise SettingsError(
                [
                    (
                        f"--expose: {url!r} is not the address of a tunnel, as in "
                        "https://name.example; `--expose how` tells how to get one"
                    )
                ]
            )
        return cls(base)

    @property
    def webhook(self) -> str:
        """What gates are to give as `webhook_url`."""
        return f"{self.base}{PATH}"

    def route(self) -> Route:
        """Answers a GET of the webhook's own path, so that the tunnel can be tried out."""
        return Route(PATH, self._answer, methods=["GET"])

    def only_the_webhook(self, app: ASGIApp) -> ASGIApp:
        """`app`, of which nothing but the webhook is there for those that come from outside."""
        host = urlsplit(self.base).hostname or ""
        host = "" if is_this_machine(host) else host

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] != PATH and _is_outside(scope, host):
                refusal = PlainTextResponse(f"Only {PATH} is open to the outside.\n", 404)
                await refusal(scope, receive, send)
                return
            await app(scope, receive, send)

        return guarded

    async def fault(self) -> str | None:
        """Why the address does not lead here, None if it does. Changes nothing anywhere."""
        try:
            # As deliveries travel: with no proxy from the environment.
            async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as http:
                reply = await http.get(self.webhook)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"it does not answer ({str(error) or type(error).__name__})"
        if reply.status_code == 200 and self.marker in reply.text:
            return None
        return f"something else answers there ({reply.status_code})"

    async def watch(self, say: Console) -> None:
        """Say whether it leads here; while it does not, look again until it does."""
        told = None
        while (fault := await self.fault()) is not None:
            if fault != told:
                say.print(
                    f"[bold yellow]![/] {escape(self.base)} does not lead to this receiver: "
                    f"{escape(fault)}. Is the tunnel up, and its target this address? Trying on."
                )
            told = fault
            await asyncio.sleep(AGAIN_SECONDS)
        say.print(f"[bold green]✓[/] {escape(self.base)} leads to this receiver.\n")

    async def _answer(self, _request: Request) -> JSONResponse:
        return JSONResponse({"receiver": self.marker}, headers={"Cache-Control": "no-store"})


def explain(address: str, exposed: Exposed | None) -> str:
    """What to set where, for the terminal."""
    if exposed is None:
        port = urlsplit(address).port
        return (
            "[bold]Behind a tunnel:[/] start one of these in another terminal,\n"
            f"  cloudflared tunnel --url {address}   makes an address for as long as it runs\n"
            f"  ngrok http {port}   needs an account, and can keep the address\n"
            "then give its address: [bold]--expose https://…[/] Gates that run elsewhere set "
            f"webhook_url to\n  https://…{PATH}\n"
        )
    return (
        f"[bold]Behind a tunnel:[/] gates that run elsewhere set webhook_url to\n"
        f"  [bold]{escape(exposed.webhook)}[/]\n"
        f"  Tell the tunnel this path only, if it can: {PATH}\n"
        "  Whoever knows the address can post there: what is not signed with this LoopPause's key "
        "is refused.\n"
        "  The inbox and its API have no login: they answer 404 to what comes through a tunnel.\n"
    )


def _is_outside(scope: Scope, public_host: str) -> bool:
    headers = Headers(scope=scope)
    host = headers.get("host", "").rpartition("@")[2].partition(":")[0].lower()
    return bool(host and host == public_host) or any(name in headers for name in FORWARDED)


def is_this_machine(host: str) -> bool:
    """Whether a name or address stands for the machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
