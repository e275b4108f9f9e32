"""A file that is there when it is whole, for its owner alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer

from .refusal import CommandRefused

__all__ = ["written_to"]


@contextmanager
def written_to(file: Path | None) -> Iterator[Callable[[str], object]]:
    """Write lines to a new file, or to standard output without one.

    The lines go to `FILE.part`, which gets its name at the end and is deleted if there is none.
    Raises `CommandRefused` if there is such a file, or it cannot be written.
    """
    if file is None:
        yield typer.echo
        return
    part = file.with_name(f"{file.name}.part")
    if file.exists():
        raise CommandRefused(f"{file} is there already: choose another name")
    stream = _new(part)
    try:
        with stream:
            yield lambda line: stream.write(line + "\n")
        part.rename(file)
    except OSError as error:
        raise _refusal(file, error) from error
    finally:
        part.unlink(missing_ok=True)


def _new(part: Path) -> TextIO:
    try:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise CommandRefused(
            f"{part} is there: another export writes it, or was cut off; then delete it"
        ) from error
    except OSError as error:
        raise _refusal(part, error) from error
    return os.fdopen(number, "w", encoding="ascii")


def _refusal(file: Path, error: OSError) -> CommandRefused:
    return CommandRefused(f"{file} cannot be written: {error.strerror or error}")
