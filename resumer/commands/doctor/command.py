"""`resumer doctor`: is everything in place, and if not, how is it mended?"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resumer.commands.dev_env import DEV_FILE
from resumer.commands.shown import echo_json, printable
from resumer.settings import Settings

from .finding import Finding
from .subject import subject_from

__all__ = ["doctor"]

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that each check may take.")
    ] = 5.0,
    database_url: Annotated[
        str | None,
        typer.Option(help="PostgreSQL URL; else RESUMER_DATABASE_URL or DATABASE_URL."),
    ] = None,
    graph: Annotated[
        list[str] | None,
        typer.Option(help="name=module:attribute, once for each; else RESUMER_GRAPHS."),
    ] = None,
    flow: Annotated[
        list[str] | None,
        typer.Option(help="As --graph, for CrewAI flow classes; else RESUMER_FLOWS."),
    ] = None,
) -> None:
    """Check keys, databases, graphs, receiver and LoopPause, and say how to mend what is wrong.

    Changes nothing and prints no secret. Run it in the environment of a worker. Exit code 0 if
    nothing failed (warnings are allowed), 1 if something did.
    """
    from .examine import examine  # noqa: PLC0415 - loads LangGraph, which --help need not

    given = {
        "database_url": database_url,
        "graphs": Settings.graphs_from(",".join(graph)) if graph else None,
        "flows": Settings.graphs_from(",".join(flow), "--flow") if flow else None,
    }
    subject = subject_from(dict(os.environ), timeout=timeout, **given)
    findings = asyncio.run(_told(examine(subject), as_json=as_json))
    counts = Counter(finding.status for finding in findings)
    if not as_json:
        _print_summary(counts)
    raise typer.Exit(1 if counts["fail"] else 0)


async def _told(findings: AsyncIterator[Finding], *, as_json: bool) -> list[Finding]:
    """Show each finding as soon as it is there."""
    console = Console(highlight=False)
    seen = []
    async for finding in findings:
        seen.append(finding)
        echo_json(asdict(finding)) if as_json else _print(console, finding)
    return seen


def _print(console: Console, finding: Finding) -> None:
    mark, colour = _MARKS[finding.status]
    row = Table.grid(padding=(0, 1))
    row.add_column(width=1)
    row.add_column(width=14, overflow="fold")
    row.add_column(overflow="fold")
    found = Text(printable(finding.found))
    row.add_row(Text(mark, style=colour), Text(printable(finding.check)), found)
    if finding.mend:
        row.add_row("", "", Text(f"→ {finding.mend}", style=colour))
    console.print(row)


def _print_summary(counts: Mapping[Any, int]) -> None:
    console = Console(highlight=False)
    warnings = "warning" if counts["warn"] == 1 else "warnings"
    told = f"{counts['ok']} ok, {counts['warn']} {warnings}, {counts['fail']} to mend."
    console.print(f"\n{told}")
    if counts["fail"] and DEV_FILE.is_file():
        console.print(f"Meant to check what `resumer dev` runs? First: source {DEV_FILE}")
