"""A browser without a browser: signs in, follows forms, and keeps its cookie."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

__all__ = ["ACT", "READ", "TOKENS", "Visit", "visiting"]

ACT = "a-token-to-act-with-1"
READ = "a-token-to-look-with-1"
TOKENS: Mapping[str, Any] = {"act_tokens": [f"ada:{ACT}"], "read_tokens": [f"grace:{READ}"]}


@dataclass
class Visit:
    """A client of the dashboard in this process."""

    http: httpx.AsyncClient
    root: str = ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(self.root + path, headers=headers)

    async def post(self, path: str, data: Mapping[str, str], **headers: str) -> httpx.Response:
        origin = {"Origin": str(self.http.base_url).rstrip("/")}
        return await self.http.post(self.root + path, data=data, headers=origin | headers)

    async def form_word(self, path: str) -> str:
        """What the form of this page carries."""
        found = re.search(r'name="form_word" value="(\w+)"', (await self.get(path)).text)
        assert found, f"no form at {path}"
        return found[1]

    async def sign_in(self, token: str, path: str = "/ui/login") -> httpx.Response:
        word = await self.form_word(path)
        return await self.post(path, {"form_word": word, "token": token})

    async def act(self, path: str, **fields: str) -> httpx.Response:
        """Load the page that asks, and confirm."""
        word = await self.form_word(path)
        return await self.post(path, {"form_word": word, **fields})


@asynccontextmanager
async def visiting(
    app: Any, token: str | None = ACT, *, root: str = "", base: str = "http://resumer"
) -> AsyncIterator[Visit]:
    """A visit, signed in with `token`; `root` is where the application is mounted."""
    transport = httpx.ASGITransport(app, root_path=root, client=("203.0.113.7", 123))
    async with httpx.AsyncClient(transport=transport, base_url=base) as http:
        visit = Visit(http, root)
        if token is not None:
            assert (await visit.sign_in(token)).status_code == 303
        yield visit


def text_of(page: httpx.Response) -> str:
    """What a reader sees, more or less."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.text)))
