"""Text of strangers on a terminal, JSON on a pipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

__all__ = ["echo_json", "printable"]


def printable(text: str) -> str:
    """`text` without what a terminal would obey: escape sequences, line breaks, bells."""
    return "".join(character if character.isprintable() else "�" for character in text)


def echo_json(row: Mapping[str, Any]) -> None:
    """One JSON object as one line on standard output, in ASCII, which every terminal takes."""
    typer.echo(json.dumps(row))
