"""Read proofs from a file: one proof as JSON, or JSON lines as `resumer audit export` writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from .refusal import CommandRefused

__all__ = ["Line", "opened", "read_lines"]


@dataclass(frozen=True)
class Line:
    """One proof to verify, and what stood beside it.

    `number` counts from 1. `proof` is the signed text as it was received, None where the line
    has none. `claims` are the pause id and the decision that an exported line says it is about.
    `fault` says why nothing could be read.
    """

    number: int
    proof: bytes | None = field(default=None, repr=False)
    claims: dict[str, str] = field(default_factory=dict)
    fault: str | None = None


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """The file, or standard input for `-`. Raises `CommandRefused` if it cannot be read."""
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as stream:
            yield stream
    except (OSError, ValueError) as error:
        raise CommandRefused(f"{file} cannot be read: {error}") from error


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Each proof in the stream, read as it comes, so that an export may be larger than memory.

    A first line that is not an object of its own begins one document over several lines.
    """
    number, text = _first_line(stream)
    if not text:
        return
    if _object(text) is None:
        yield _line(number, text + stream.read())
        return
    yield _line(number, text)
    for following, more in enumerate(stream, start=number + 1):
        if more.strip():
            yield _line(following, more)


def _first_line(stream: BinaryIO) -> tuple[int, bytes]:
    for number, text in enumerate(stream, start=1):
        if text.strip():
            return number, text
    return 0, b""


def _line(number: int, text: bytes) -> Line:
    document = _object(text)
    if document is None:
        return Line(number, fault="this is not a JSON object")
    if "proof" not in document or "signature" in document:
        return Line(number, proof=text.strip())
    return _exported(number, document)


def _exported(number: int, document: dict[str, Any]) -> Line:
    proof = document["proof"]
    claims = {
        name: document[name]
        for name in ("pause_id", "decision")
        if isinstance(document.get(name), str)
    }
    if "pause_id" not in claims:
        return Line(number, fault="`pause_id` is missing beside `proof`")
    if proof is not None and not isinstance(proof, str):
        return Line(
            number, claims=claims, fault="`proof` must be the signed text itself, as one string"
        )
    # A lone surrogate is no UTF-8, and nothing that was ever signed: the verifier says so.
    signed = None if proof is None else proof.encode("utf-8", "surrogatepass")
    return Line(number, proof=signed, claims=claims)


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
