"""From values to pages: the templates' environment, and what every page is given."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from resumer.operator import wording

from . import shapes, words

__all__ = ["STATIC", "Visitor", "root_of", "show", "show_live"]

STATIC = Path(__file__).parent / "static"

_TIMES = re.compile(r">[^<]*</time>")


@dataclass(frozen=True)
class Visitor:
    """Who looks, and what they may do; `form_word` is what their forms carry."""

    name: str
    may_act: bool
    form_word: str


def root_of(request: Request) -> str:
    """What every link begins with: where we are mounted, and the proxy's prefix."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def show(
    request: Request,
    template: str,
    *,
    now: datetime,
    visitor: Visitor | None = None,
    status: int = 200,
    **context: Any,
) -> Response:
    """The page."""
    whole = _context(request, template, now, visitor, context)
    whole["version"] = _version(_live_part(template, whole))
    text = _environment().get_template(template).render(whole)
    return HTMLResponse(text, status_code=status)


def show_live(
    request: Request, template: str, *, now: datetime, visitor: Visitor | None, **context: Any
) -> Response:
    """The part of the page that changes; 204 if the browser has it as it is."""
    text = _live_part(template, _context(request, template, now, visitor, context))
    version = _version(text)
    if request.headers.get("x-have") == version:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return HTMLResponse(text, headers={"X-Version": version})


def _context(
    request: Request,
    template: str,
    now: datetime,
    visitor: Visitor | None,
    context: dict[str, Any],
) -> dict[str, Any]:
    return {
        "root": root_of(request),
        "assets": _assets_version(),
        "now": now,
        "visitor": visitor,
        "ago": partial(wording.ago, now=now),
        "until": partial(wording.ahead, now=now),
        "page_name": template,
        "notice": "",
        "version": "",
        **context,
    }


def _live_part(template: str, context: dict[str, Any]) -> str:
    found = _environment().get_template(template)
    if "live" not in found.blocks:
        return ""
    return "".join(found.blocks["live"](found.new_context(context)))


def _version(html: str) -> str:
    """Changes when the page says something else; that time passes is seen to by the browser."""
    return hashlib.sha256(_TIMES.sub("", html).encode()).hexdigest()[:16]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("resumer.operator.dashboard"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=words.readable,
    )
    environment.filters |= {
        "whom": wording.whom,
        "besides_heading": shapes.besides_heading,
        "columns": shapes.columns,
        "flat_first": shapes.flat_first,
        "duration": wording.duration,
        "exact": words.exact,
        "fault": wording.fault,
        "latency": words.latency,
        "marked": words.marked,
        "number": words.number,
        "pretty": words.pretty,
        "segment": partial(quote, safe=""),
        "scheme": words.scheme,
        "told": words.told,
        "utc": wording.moment,
    }
    environment.tests |= {"deep": shapes.is_deep, "tabular": shapes.is_tabular}
    environment.globals |= {"STATES": words.STATES, "DECISIONS": words.DECISIONS}
    return environment


@cache
def _assets_version() -> str:
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
