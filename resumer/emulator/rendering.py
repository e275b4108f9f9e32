"""The page's templates, and the files they bring along."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from .views import ago, duration, is_tabular, shown_address

__all__ = ["STATIC", "assets_version", "render"]

STATIC = Path(__file__).parent / "static"


def render(template: str, context: Mapping[str, Any]) -> str:
    """The template as HTML; what it is given is text, never markup."""
    return _environment().get_template(template).render(context)


@cache
def assets_version() -> str:
    """Changes whenever a static file does, so that a browser keeps none for too long."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("resumer.emulator"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ago": ago, "duration": duration, "address": shown_address}
    environment.tests["tabular"] = is_tabular
    return environment
