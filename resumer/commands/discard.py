"""`resumer discard`: decide that nothing more is done about a pause."""

from __future__ import annotations

from typing import Annotated

import typer

from resumer.operator.acting import NotPossible
from resumer.operator.asking import name_of

from .given import agreed, checked, reason_of, who
from .options import AsJson, By, Database, OpenPause, Yes
from .service import ask
from .shown import echo_json, printable

__all__ = ["discard"]


def discard(
    pause_id: OpenPause,
    *,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for the audit and whoever looks later.")
    ] = None,
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
    database_url: Database = None,
) -> None:
    """Decide that nothing more is done about a parked or failed pause. There is no way back.

    Its proof is kept, and so is its thread, which goes on hibernating. Exit code 0 if it is
    discarded (or was before), 1 if it cannot be or you have not agreed, 2 if it cannot be done as
    called.
    """
    pause_id, why, name = checked(name_of, "PAUSE", pause_id), reason_of(reason), who(by)
    question = f"Discard {printable(pause_id)} for good?"
    if not agreed(question, yes=yes):
        raise typer.Exit(1)
    try:
        discarded = ask(
            database_url, lambda service: service.acting.discard(pause_id, by=name, reason=why)
        )
    except NotPossible as error:
        typer.echo(printable(f"{pause_id}: {error}"), err=True)
        raise typer.Exit(1) from None
    if as_json:
        echo_json({"pause_id": pause_id, "discarded": discarded})
    else:
        done = "is discarded: its proof is kept" if discarded else "was discarded before"
        typer.echo(printable(f"{pause_id}: {done}"))
