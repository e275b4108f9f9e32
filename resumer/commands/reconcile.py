"""`resumer reconcile --once`: one sweep, here and now, and what it found and repaired."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from resumer.settings import Settings
from resumer.telemetry import log_to

from .options import Database
from .shown import echo_json

if TYPE_CHECKING:
    from resumer.reconcile import Sweep

__all__ = ["reconcile"]


def reconcile(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Sweep once and end; the workers do it all the time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    database_url: Database = None,
) -> None:
    """Sweep once: compare pauses, threads and LoopPause, and repair what got lost between them.

    Run it in the environment of a worker, with its keys, its graphs and LOOPPAUSE_API_KEY. What is
    taken up again is resumed by the workers. Safe to repeat. Exit code 0 if it swept, 1 if another
    process was sweeping just then, 2 if it cannot be done as called.
    """
    from .one_sweep import sweep  # noqa: PLC0415 - loads LangGraph, which --help need not

    if not once:
        raise typer.BadParameter(
            "say --once; workers sweep by themselves, every RESUMER_RECONCILE_SECONDS"
        )
    log_to(level="WARNING")
    # Not over what `resumer dev` has left: LoopPause's word and the database must belong together.
    settings = Settings.from_env(os.environ, database_url=database_url)
    swept = asyncio.run(sweep(settings))
    if as_json:
        echo_json({"swept": swept is not None, **(asdict(swept) if swept else {})})
    else:
        for line in _told(swept, asks=settings.api_key is not None):
            typer.echo(line)
    raise typer.Exit(0 if swept else 1)


def _told(swept: Sweep | None, *, asks: bool) -> Iterator[str]:
    if swept is None:
        yield "Another process is sweeping just now: see what it finds, or run this again."
        return
    yield f"Found   {_count(swept.waiting)} that threads hibernate at, in what is new to the sweep."
    if asks:
        answers = f"{swept.answered} had an answer"
        yield f"Asked   LoopPause about {_count(swept.asked)} that were due: {answers}."
    else:
        yield "Asked   nobody: set LOOPPAUSE_API_KEY, else lost answers and expiries stay unknown."
    repaired = {
        "answered, with no job that works on them": swept.requeued,
        "parked or collected, whose thread or graph is there now": swept.reopened,
        "answered at LoopPause, and never delivered": swept.answered,
    }
    for what, count in repaired.items():
        if count:
            yield f"Mended  {_count(count)} {what}: the workers go on with them."
    if not any(repaired.values()):
        yield "Mended  nothing: all is as it should be."


def _count(number: int) -> str:
    return "1 pause" if number == 1 else f"{number} pauses"
