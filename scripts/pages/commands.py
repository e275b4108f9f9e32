"""The reference of the commands, read off the parser that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from resumer.cli import app

__all__ = ["markdown"]

COMPLETION = {"install_completion", "show_completion", "help"}


def markdown() -> str:
    """Every command, in the order of `resumer --help`."""
    return "\n".join(_described(get_command(app), "resumer"))


def _described(command: Any, name: str) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if not children:
        yield f"## {name}\n"
        yield f"```text\n{name} {_usage(command)}\n```\n"
        yield f"{_text(command.help)}\n"
        yield from _table(command)
    for child in children.values():
        yield from _described(child, f"{name} {child.name}")


def _usage(command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    shown = [_argument(each) for each in arguments]
    return " ".join(["[options]", *shown])


def _argument(each: Any) -> str:
    name = each.metavar or each.name.upper()
    name = f"{name}..." if each.nargs == -1 else name
    return name if each.required else f"[{name}]"


def _table(command: Any) -> Iterator[str]:
    options = [
        each
        for each in command.params
        if each.param_type_name == "option" and each.name not in COMPLETION and not each.hidden
    ]
    if options:
        yield "| option | |\n|---|---|"
        yield from map(_row, options)
        yield ""


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.metavar or option.name.upper()}`"
    return f"| {names}{value} | {_cell(option.help or '')}{_default(option)}{_variable(option)} |"


def _default(option: Any) -> str:
    if option.is_flag or option.default is None or callable(option.default):
        return ""
    return f" Default: `{option.default}`."


def _variable(option: Any) -> str:
    return f" Or `{option.envvar}` in the environment." if option.envvar else ""


def _text(text: str | None) -> str:
    """Paragraphs as they are; words in backticks stay code."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
