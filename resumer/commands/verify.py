"""`resumer verify`: are these proofs genuine, and who decided what, and when?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .dev_env import environment
from .keys import verification_keys
from .proof_lines import opened, read_lines
from .refusal import CommandRefused
from .shown import echo_json, printable
from .verdicts import Verdict, judge

__all__ = ["verify"]

_STYLES = {"genuine": "green", "unsigned": "dim"}


def verify(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A proof, or JSON lines of them; - reads a pipe.")
    ],
    *,
    secret_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A file with a signing secret, once for each."),
    ] = None,
    public_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="An Ed25519 public key, or its file, once for each."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Say of each proof whether it is genuine, and who decided what, and when.

    FILE is one proof as it was delivered, or JSON lines with `pause_id` and `proof` (the signed
    text), as `resumer audit export` writes them. Keys come from LOOPPAUSE_SIGNING_SECRET,
    LOOPPAUSE_SIGNING_SECRETS and LOOPPAUSE_PUBLIC_KEYS unless given; old proofs need old keys.
    Exit code 0 if all are genuine, 1 if any is not, 2 if there is nothing to verify.
    """
    keys = verification_keys(secret_file or (), public_key or (), environment())
    verdicts: list[Verdict] = []
    with opened(file) as stream:
        for line in read_lines(stream):
            verdict = judge(line, keys)
            verdicts.append(verdict)
            if as_json:
                echo_json(asdict(verdict))
    if not verdicts:
        raise CommandRefused(f"{file} is empty: there is no proof in it")
    if not as_json:
        _print(verdicts)
    raise typer.Exit(0 if all(verdict.is_sound for verdict in verdicts) else 1)


def _print(verdicts: Sequence[Verdict]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("proof")
    table.add_column("pause", overflow="fold", min_width=32)  # an id in one piece can be copied
    table.add_column("decision", overflow="fold")
    for verdict in verdicts:
        table.add_row(*_cells(verdict))
    console.print(table)
    for verdict in verdicts:
        if verdict.reason and not verdict.is_sound:
            console.print(
                Padding(Text(f"line {verdict.line}: {printable(verdict.reason)}"), (0, 0))
            )
    console.print(Text(f"\n{_summary(verdicts)}"))


def _cells(verdict: Verdict) -> tuple[Text, Text, Text]:
    result = verdict.result.replace("_", " ")
    return (
        Text(result, style=_STYLES.get(verdict.result, "red")),
        Text(printable(verdict.pause_id or f"(line {verdict.line})")),
        Text("\n".join(filter(None, (_decided(verdict), _when(verdict), _signed(verdict))))),
    )


def _decided(verdict: Verdict) -> str:
    if verdict.decision is None:
        return ""
    by = f" by {printable(verdict.responder)}" if verdict.responder else ""
    default = verdict.authorization_type == "system_fallback"
    return f"{verdict.decision}{by}{' (a default, no person)' if default else ''}"


def _signed(verdict: Verdict) -> str:
    return f"{verdict.scheme} key {verdict.key_id}" if verdict.scheme else ""


def _when(verdict: Verdict) -> str:
    """The time in UTC, short; as it was written where it is no time."""
    text = verdict.responded_at
    if text is None:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return printable(text)
    if moment.tzinfo is None:
        return printable(text)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _summary(verdicts: Sequence[Verdict]) -> str:
    counts = {
        "genuine": sum(verdict.result == "genuine" for verdict in verdicts),
        "unsigned (nothing to verify)": sum(verdict.result == "unsigned" for verdict in verdicts),
        "NOT genuine": sum(not verdict.is_sound for verdict in verdicts),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) + "."
