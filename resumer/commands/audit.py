"""`resumer audit`: the whole record for those who check, and what operators did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from resumer.model import utc_now
from resumer.operator.acting import Acting
from resumer.operator.views import AuditEntry, Filter
from resumer.operator.wording import moment

from .export_file import written_to
from .given import moment_of
from .options import AsJson, Database
from .progress import counted
from .service import Service, ask
from .shown import echo_json, json_line, print_wrapped

__all__ = ["export", "log"]

MOST_NAMED = 10


def export(
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only first seen since: a day, a time (UTC), or 3d."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only first seen before: a day, a time (UTC), or 3d."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A new file, for you alone; else standard output."),
    ] = None,
    database_url: Database = None,
) -> None:
    """Write every pause as a line of JSON, with its proof as it was signed.

    `resumer verify` checks the proofs again. A line has the pause's question, answer, thread and
    checkpoint, its events, and what operators did to it. The newest come first. It holds personal
    data: who answered, and what. Exit code 0 if all is written, 2 if not; a file that is there
    already is never touched.
    """
    now = utc_now()
    wanted = Filter(
        created_after=moment_of("--since", since, now),
        created_before=moment_of("--until", until, now) or now,
    )

    async def write(service: Service) -> tuple[int, int]:
        count = signed = 0
        records = service.exporting.pauses(wanted)
        with written_to(out) as line:
            async for record in counted(records, service.reading, wanted, is_shown=out is not None):
                line(json_line(record))
                count, signed = count + 1, signed + (record["scheme"] is not None)
        return count, signed

    count, signed = ask(database_url, write)
    if out is not None:
        pauses = "1 pause" if count == 1 else f"{count} pauses"
        typer.echo(f"{pauses} written to {out}, {signed} with a signed proof.", err=True)
        typer.echo(f"Check them with the keys of their time: resumer verify {out}", err=True)


def log(
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 50,
    as_json: AsJson = False,
    database_url: Database = None,
) -> None:
    """List what operators did, from wherever they did it: who, when, what, to which pause or agent.

    Exit code 0, also if there is nothing; 2 if it cannot be done as called.
    """
    entries = ask(database_url, lambda service: _entries(service.acting, limit))
    if as_json:
        for entry in entries:
            echo_json(asdict(entry))
    else:
        _print(entries)


async def _entries(acting: Acting, limit: int) -> list[AuditEntry]:
    return await acting.audit(limit=limit)


def _print(entries: Sequence[AuditEntry]) -> None:
    console = Console(highlight=False)
    if not entries:
        console.print("Nothing has been done.")
    for entry in entries:
        print_wrapped(console, f"{moment(entry.at)}  {entry.who} {entry.action} {entry.target}")
        for more in _details(entry):
            print_wrapped(console, more, style="dim", indent=2)


def _details(entry: AuditEntry) -> list[str]:
    """What is beside the target, in as much as it says more."""
    told = []
    for name, value in entry.detail.items():
        if name != "pause_ids":
            told.append(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")
        elif list(value) != [entry.target]:
            more = f" and {len(value) - MOST_NAMED} more" if len(value) > MOST_NAMED else ""
            told.append(f"{' '.join(value[:MOST_NAMED])}{more}")
    return told
