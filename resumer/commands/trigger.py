"""`resumer trigger`: send a real signed delivery to a running receiver, and say what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from resumer.model import Waiting, utc_now
from resumer.settings import Settings

from .dev_env import environment
from .keys import SigningKey, signing_key
from .kinds import Delivery, Kind, Said, deliveries, made_up_pause_id
from .refusal import CommandRefused
from .replies import LONGEST_BODY, Reply, meaning, next_step
from .shown import echo_json, printable
from .target import DEFAULT_URL, Target, target

__all__ = ["trigger"]

TIMEOUT_SECONDS = 10.0
MOST_NAMED = 10

Exchange = tuple[Delivery, Reply]


def trigger(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What to deliver.")],
    *,
    pause_id: Annotated[
        str | None,
        typer.Option(help="The pause it answers; else the only one that waits, if one does."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The receiver; else LOOPPAUSE_WEBHOOK_URL, else that of `resumer dev`."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(help="The HMAC secret to sign with; else LOOPPAUSE_SIGNING_SECRET."),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An Ed25519 private key to sign with: PEM, or base64."),
    ] = None,
    fields: Annotated[
        str | None, typer.Option(metavar="JSON", help="What the person fills in: a JSON object.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="What the person remarks.")] = None,
    responder: Annotated[
        str | None, typer.Option(help="Who answers; else trigger@localhost.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Send over plain HTTP to another machine, too.")
    ] = False,
    database_url: Annotated[
        str | None,
        typer.Option(help="Where the waiting pause is looked up; else RESUMER_DATABASE_URL."),
    ] = None,
) -> None:
    """Send a real signed delivery to a running receiver, and say what came back.

    The kinds: approved, rejected, fallback (approved by a default, no person), expired,
    duplicate (the same twice), conflict (approved, then rejected), early (no thread asks it),
    tampered (one byte changed after signing). What is signed here counts: an approval opens its
    gate. Exit code 0 if the receiver did what it should, 1 if not, 2 if nothing could be sent.
    """
    env = environment()
    receiver = target(url or env.get("LOOPPAUSE_WEBHOOK_URL") or DEFAULT_URL, anywhere=anywhere)
    key = signing_key(secret, private_key, env)
    said = Said(responder, comment, _fields(fields))
    if kind is Kind.EXPIRED and said != Said():
        raise CommandRefused("nobody answers what expires: leave out what a person would say")
    pause_id = pause_id or _pause(kind, receiver, database_url, env)
    exchanges = _send(receiver, deliveries(kind, key, pause_id, said, utc_now()))
    sound = all(reply.is_as_expected(delivery) for delivery, reply in exchanges)
    report = _report(kind, receiver, key, pause_id, exchanges)
    echo_json(report) if as_json else _print(report)
    raise typer.Exit(0 if sound else 1)


def _fields(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise CommandRefused(f"--fields is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CommandRefused("--fields must be a JSON object, such as '{\"amount\": 5}'")
    return fields


def _pause(kind: Kind, receiver: Target, database_url: str | None, env: Mapping[str, str]) -> str:
    """The one pause that can be meant, or one that nobody asked."""
    if not kind.answers_a_thread:
        return made_up_pause_id()
    if not receiver.is_local:
        raise CommandRefused(
            "the receiver is on another machine: say which pause to answer with --pause-id"
        )
    if not (database_url or env.get("RESUMER_DATABASE_URL") or env.get("DATABASE_URL")):
        raise CommandRefused(
            "say which pause to answer with --pause-id; or set RESUMER_DATABASE_URL, and the one "
            "that waits there is answered"
        )
    from .unanswered import unanswered  # noqa: PLC0415 - loads LangGraph, which --help need not

    urls = Settings.database_urls(database_url, None, env)
    waiting = asyncio.run(unanswered(*urls, limit=MOST_NAMED + 1))
    if len(waiting) == 1:
        return waiting[0].pause_id
    raise CommandRefused(_which(waiting))


def _which(waiting: Sequence[Waiting]) -> str:
    if not waiting:
        return (
            "no thread waits for an answer in this database: start your agent first, or try "
            "`resumer trigger early`, which needs none"
        )
    lines = [
        f"\n  {printable(pause.pause_id)}  ({printable(pause.agent_id or 'agent unknown')})"
        for pause in waiting[:MOST_NAMED]
    ]
    count = str(len(waiting)) if len(waiting) <= MOST_NAMED else f"more than {MOST_NAMED}"
    return f"{count} pauses wait; say which to answer with --pause-id:{''.join(lines)}"


def _send(receiver: Target, outgoing: Sequence[Delivery]) -> list[Exchange]:
    """Deliver one after another. Raises `CommandRefused` if the receiver cannot be reached."""
    exchanges: list[Exchange] = []
    headers = {"Content-Type": "application/json", "User-Agent": "resumer-trigger"}
    try:
        with receiver.client(timeout=TIMEOUT_SECONDS) as http:
            for delivery in outgoing:
                answer = http.post(receiver.url, content=delivery.body, headers=headers)
                exchanges.append((delivery, Reply(answer.status_code, answer.text)))
    except httpx.HTTPError as error:
        sent = f" after {len(exchanges)} of {len(outgoing)} deliveries" if exchanges else ""
        raise CommandRefused(
            f"{receiver.url} does not answer{sent} ({str(error) or type(error).__name__}): is "
            "`resumer dev` or `resumer serve` running, and is --url its address?"
        ) from error
    return exchanges


def _report(
    kind: Kind, receiver: Target, key: SigningKey, pause_id: str, exchanges: Sequence[Exchange]
) -> dict[str, Any]:
    wrong = [pair for pair in exchanges if not pair[1].is_as_expected(pair[0])]
    delivery, reply = (wrong or exchanges)[0 if wrong else -1]
    return {
        "kind": kind.value,
        "url": receiver.url,
        "pause_id": pause_id,
        "scheme": key.scheme,
        "key_id": key.key_id,
        "as_expected": not wrong,
        "deliveries": [_told(*pair) for pair in exchanges],
        "next": next_step(kind, reply, delivery, key_id=key.key_id),
    }


def _told(delivery: Delivery, reply: Reply) -> dict[str, Any]:
    return {
        "sent": delivery.what,
        "status": reply.status,
        "body": reply.content,
        "expected_status": delivery.status,
        "expected_result": delivery.result,
        "as_expected": reply.is_as_expected(delivery),
        "meaning": meaning(reply),
    }


def _print(report: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(Text(f"{report['kind']} → {report['url']}", style="bold"))
    console.print(Text(f"  pause   {printable(report['pause_id'])}"))
    console.print(Text(f"  signed  {report['scheme']}, key {report['key_id']}"))
    for told in report["deliveries"]:
        _print_delivery(console, told)
    verdict = (
        Text(f"\n✓ As it should be for `{report['kind']}`. ", style="green")
        if report["as_expected"]
        else Text(f"\n✗ Not as it should be for `{report['kind']}`. ", style="red")
    )
    console.print(verdict)
    console.print(Padding(Text(f"Next: {report['next']}"), (0, 0, 0, 2)))


def _print_delivery(console: Console, told: Mapping[str, Any]) -> None:
    body = told["body"] if isinstance(told["body"], str) else json.dumps(told["body"])
    colour = "green" if told["as_expected"] else "red"
    console.print(Text(f"\n  {told['sent']}"))
    answer = Text.assemble(
        (f"{told['status']} ", colour), (printable(body[:LONGEST_BODY]) or "(no body)", "dim")
    )
    console.print(Padding(answer, (0, 0, 0, 4)))
    console.print(Padding(Text(told["meaning"]), (0, 0, 0, 4)))
    if not told["as_expected"]:
        wanted = " ".join(filter(None, (str(told["expected_status"]), told["expected_result"])))
        console.print(Padding(Text(f"Expected: {wanted}"), (0, 0, 0, 4)))
