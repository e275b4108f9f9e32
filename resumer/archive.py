"""Where what is pruned goes before it is deleted: JSON lines in files, on disk when written."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

__all__ = ["Archive", "Kind", "json_line"]

Kind = Literal["pauses", "acts"]


@dataclass(frozen=True)
class Archive:
    """Files of what was pruned: one of each kind for each day in a folder, or one and no more.

    `place` is the folder, which must be there, or with `is_file` the file for pauses.
    """

    place: Path
    is_file: bool = False

    def file_for(self, kind: Kind, now: datetime) -> Path:
        """Where what is pruned `now` goes."""
        if not self.is_file:
            return self.place / f"{kind}-{now.astimezone(UTC):%Y-%m-%d}.jsonl"
        return self.place if kind == "pauses" else self.place.with_suffix(".acts.jsonl")

    def append(self, kind: Kind, records: Iterable[Mapping[str, Any]], now: datetime) -> Path:
        """Add the records, one a line; they are on disk when this returns. Blocks.

        All of them or none: what a full disk or a crash cut off is taken out again, here or by the
        next call. Raises `OSError`.
        """
        file = self.file_for(kind, now)
        text = "".join(f"{json_line(record)}\n" for record in records).encode("ascii")
        number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)  # a pruner that was taken for dead may write, too
            end = _whole_lines(number)
            os.ftruncate(number, end)
            try:
                _write(number, text)
                os.fsync(number)
            except OSError:
                os.ftruncate(number, end)
                raise
        finally:
            os.close(number)
        _sync_folder(file.parent)
        return file


def json_line(row: Mapping[str, Any]) -> str:
    """One JSON object as one line in ASCII, which every terminal takes; times in UTC."""
    return json.dumps(row, default=_time)


def _time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


BLOCK = 64 * 1024


def _whole_lines(number: int) -> int:
    """Where the last line that is whole ends: behind it is what a crash has left."""
    end = os.fstat(number).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(number, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write(number: int, text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[os.write(number, left) :]


def _sync_folder(folder: Path) -> None:
    """A new file is there after a crash only if its folder is on disk, too."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
