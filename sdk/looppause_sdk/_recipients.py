"""Whom a question was put to, as it may be kept beside it: no addresses that are secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["named"]


def named(recipients: Any) -> tuple[Mapping[str, str], ...]:
    """Channel and target of each recipient, of whatever was given as such; nothing else of them.

    A target that is a web address may have a secret in its path: only its host is named.
    """
    given = recipients if isinstance(recipients, (list, tuple)) else ()
    whom = (
        {name: _without_secret(one[name]) for name in ("channel", "target") if one.get(name)}
        for one in given
        if isinstance(one, Mapping)
    )
    return tuple(filter(None, whom))


def _without_secret(text: Any) -> str:
    scheme, separator, rest = str(text).partition("://")
    if not separator:
        return scheme
    host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{host}/…"
