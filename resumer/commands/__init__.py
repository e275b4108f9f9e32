"""Commands of `resumer` that look, act, ask and try things out: one module for each idea.

`cli.py` calls `add_pause_commands` and `add_trial_commands`; the servers' own commands stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from . import (
    audit,
    discard,
    doctor,
    explain,
    holds,
    pauses,
    prune,
    reconcile,
    retry,
    sign,
    threads,
    trigger,
    verify,
)

__all__ = ["add_pause_commands", "add_trial_commands"]

_Command = Callable[..., None]


def add_pause_commands(app: typer.Typer) -> None:
    """Register what looks at pauses and acts on them, in the order `--help` shows it."""
    _add(
        app,
        {
            "pauses": pauses.pauses,
            "explain": explain.explain,
            "retry": retry.retry,
            "discard": discard.discard,
            "hold": holds.hold,
            "release": holds.release,
            "reconcile": reconcile.reconcile,
            "prune": prune.prune,
        },
    )
    records = typer.Typer(no_args_is_help=True, help="Export the whole record; list what was done.")
    _add(records, {"export": audit.export, "log": audit.log})
    app.add_typer(records, name="audit")
    histories = typer.Typer(no_args_is_help=True, help="Shorten the histories of threads.")
    _add(histories, {"prune": threads.prune})
    app.add_typer(histories, name="threads")


def add_trial_commands(app: typer.Typer) -> None:
    """Register what tries things out and checks them, in the order `--help` shows it."""
    _add(
        app,
        {
            "trigger": trigger.trigger,
            "verify": verify.verify,
            "sign": sign.sign,
            "doctor": doctor.doctor,
        },
    )


def _add(app: typer.Typer, commands: Mapping[str, _Command]) -> None:
    for name, command in commands.items():
        app.command(name, help=_unwrapped(command.__doc__ or ""))(command)


def _unwrapped(text: str) -> str:
    """Each paragraph on one line: typer keeps line breaks where a terminal is to choose them."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
