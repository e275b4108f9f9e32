"""`resumer sign`: sign a document as LoopPause would, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from looppause_sdk.errors import ProofMalformed
from looppause_sdk.proof import verify

from .dev_env import environment
from .keys import SigningKey, read_text, signing_key
from .proof_lines import opened
from .refusal import CommandRefused
from .shown import echo_json

__all__ = ["sign"]


def sign(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON object to sign; - reads a pipe.")
    ],
    *,
    secret_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The HMAC secret; else LOOPPAUSE_SIGNING_SECRET."),
    ] = None,
    private_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An Ed25519 private key instead: PEM, or base64."),
    ] = None,
) -> None:
    """Sign a document as LoopPause would, for tests, and print it as one line of JSON.

    A `signature` that is there already is replaced. What is signed with a receiver's own key
    counts there: an approval opens its gate.
    """
    secret = read_text(secret_file, "the signing secret") if secret_file else None
    key = signing_key(secret, private_key, environment())
    document = _document(file)
    _refuse_to_print(key, document)
    signed = _sign(key, document)
    warning = f"signed with {key.scheme} key {key.key_id}, for tests only: people have not decided"
    typer.secho(f"resumer: {warning}", fg=typer.colors.YELLOW, err=True)
    if fault := _unusable(key, signed):
        typer.secho(f"resumer: no receiver will take it: {fault}", fg=typer.colors.YELLOW, err=True)
    echo_json(signed)


def _document(file: str) -> dict[str, Any]:
    with opened(file) as stream:
        text = stream.read()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandRefused(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CommandRefused(f"{file} must hold one JSON object")
    return document


def _refuse_to_print(key: SigningKey, document: dict[str, Any]) -> None:
    """The document goes to a terminal, a file, a log: the secret itself must not be in it."""
    text = json.dumps(document, ensure_ascii=False)
    if key.secret and json.dumps(key.secret, ensure_ascii=False)[1:-1] in text:
        raise CommandRefused("the document contains the signing secret itself: take it out")


def _sign(key: SigningKey, document: dict[str, Any]) -> dict[str, Any]:
    try:
        return key.sign(document)
    except (TypeError, ValueError) as error:
        raise CommandRefused(f"this cannot be signed: {error}") from error


def _unusable(key: SigningKey, signed: dict[str, Any]) -> str | None:
    public = [key.private_key.public_key()] if key.private_key else []
    try:
        verify(json.dumps(signed), secrets=[key.secret or ""], public_keys=public)
    except ProofMalformed as error:
        return str(error)
    return None
