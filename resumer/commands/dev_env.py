"""The environment a command works in: the process's own, and what `resumer dev` has left."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from .refusal import CommandRefused

__all__ = ["DEV_FILE", "environment"]

DEV_FILE = Path(".resumer/env")


def environment(file: Path = DEV_FILE, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """`env` (the process's, by default) over the settings in `file`, if there is one.

    An empty variable counts as one that is not set, and `<variable>_FILE` as the variable. Raises
    `CommandRefused` if the file is there and cannot be read.
    """
    own = os.environ if env is None else env
    try:
        left = dict(_exports(file.read_text())) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise CommandRefused(
            f"{file} cannot be read ({type(error).__name__}): delete it"
        ) from error
    given = {name: value for name, value in own.items() if value}
    replaced = {name.removesuffix("_FILE") for name in given}
    return {**{name: value for name, value in left.items() if name not in replaced}, **given}


def _exports(text: str) -> Iterator[tuple[str, str]]:
    """Read `export NAME=value` lines, quoted for a shell."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if len(words) == 2 and words[0] == "export" and "=" in words[1]:
            name, _, value = words[1].partition("=")
            yield name, value
