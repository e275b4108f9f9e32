"""Commands of `resumer` that ask and try things out: one module for each idea.

`cli.py` calls `add_commands`; the servers' own commands stay there.
"""

from __future__ import annotations

import typer

from . import doctor, sign, trigger, verify

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Register every command of this package, in the order `--help` shows them."""
    for command in (trigger.trigger, verify.verify, sign.sign, doctor.doctor):
        app.command(help=_unwrapped(command.__doc__ or ""))(command)


def _unwrapped(text: str) -> str:
    """Each paragraph on one line: typer keeps line breaks where a terminal is to choose them."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
