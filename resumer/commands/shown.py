"""Text of strangers on a terminal, JSON on a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from resumer.archive import json_line

__all__ = ["echo_json", "json_line", "print_wrapped", "printable"]

NARROWEST = 20


def printable(text: str) -> str:
    """`text` without what a terminal would obey: escape sequences, line breaks, bells."""
    return "".join(character if character.isprintable() else "�" for character in text)


def echo_json(row: Mapping[str, Any]) -> None:
    """One JSON object as one line on standard output."""
    typer.echo(json_line(row))


def print_wrapped(console: Console, text: str, *, style: str = "", indent: int = 0) -> None:
    """Wrap between words only: an id that is longer than a line stays in one piece."""
    width = max(console.width, NARROWEST)
    margin = " " * indent
    lines = wrap(
        printable(text),
        width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        console.print(Text(line, style=style), soft_wrap=True)
