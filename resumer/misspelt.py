"""Variables that look like settings of ours and that nothing reads: most likely misspelt."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from .environment import SECRETS, EnvironmentReader
from .telemetry import get_logger

__all__ = ["misspelt", "warn_of_misspelt"]

PREFIX = "RESUMER_"
IN_FILES = "_FILE"
OF_THE_PROXY = {"RESUMER_SITE", "RESUMER_HOST", "RESUMER_PORT"}  # deploy/caddy/Caddyfile

log = get_logger()


def misspelt(env: Mapping[str, str]) -> dict[str, str | None]:
    """Each such variable with the closest that is read, None if none is close."""
    reader = EnvironmentReader(env)
    reader.settings()
    known = {*reader.read, *(f"{name}{IN_FILES}" for name in SECRETS)}
    ours = sorted(name.removeprefix(PREFIX) for name in known if name.startswith(PREFIX))
    strangers = sorted(
        name for name in env if name.startswith(PREFIX) and name not in known | OF_THE_PROXY
    )
    return {name: _closest(name.removeprefix(PREFIX), ours) for name in strangers}


def _closest(name: str, known: list[str]) -> str | None:
    close = get_close_matches(name, known, n=1)
    return f"{PREFIX}{close[0]}" if close else None


def warn_of_misspelt(env: Mapping[str, str]) -> None:
    """Say it in the log; what they are set to may be a secret, and is not said."""
    for name, closest in misspelt(env).items():
        log.warning("unknown_setting", variable=name, did_you_mean=closest)
