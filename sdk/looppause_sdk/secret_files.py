"""Secrets in files: where `NAME` is not set, `NAME_FILE` may name a file that holds it.

That is how Kubernetes, Docker and systemd hand over secrets, and how they change while a process
runs. Nothing here opens a file that is no regular one: a pipe would be waited for.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SecretFiles", "with_secret_files"]

SUFFIX = "_FILE"
MAX_BYTES = 64 * 1024
SETTLED_SECONDS = 1.0  # a file that changed less than this ago may still be being written

Stamp = tuple[int, int, int, int]


def with_secret_files(
    env: Mapping[str, str], variables: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """The environment with these variables filled in from their files, and what is wrong with it.

    A last line break is no part of a secret. The faults name the variable and the file, and
    never what is in it.
    """
    filled, faults = dict(env), []
    for variable in variables:
        name = variable + SUFFIX
        if not env.get(name):
            continue
        if env.get(variable):
            faults.append(f"{variable} and {name} are both set: take one of them out")
            continue
        try:
            filled[variable] = _read(env[name])
        except ValueError as error:
            faults.append(f"{name}: {env[name]} {error}")
    return filled, faults


@dataclass
class SecretFiles:
    """The files that secrets come from, and whether they have changed since they were read."""

    paths: tuple[str, ...] = ()
    _read_as: tuple[Stamp | None, ...] = ()

    @classmethod
    def named_in(cls, env: Mapping[str, str], variables: Iterable[str]) -> SecretFiles:
        """Those that the environment names, as they are now: read them after this."""
        named = (env.get(variable + SUFFIX) for variable in variables)
        files = cls(tuple(path for path in named if path))
        files.about_to_read()
        return files

    def about_to_read(self) -> None:
        """Remember the files as they are now. What changes from here on is seen as a change."""
        self._read_as = self._now()

    def have_changed(self) -> bool:
        """Whether a file is another one now, and none is in the middle of being written."""
        if not self.paths:
            return False
        now = self._now()
        return now != self._read_as and all(stamp is None or _is_settled(stamp) for stamp in now)

    def open_to_all(self) -> list[str]:
        """Those that every user of this machine can read."""
        return [path for path in self.paths if _mode(path) & stat.S_IROTH]

    def _now(self) -> tuple[Stamp | None, ...]:
        return tuple(map(_stamp, self.paths))


def _read(path: str) -> str:
    """What the file holds. Raises `ValueError` that says why not, in words that follow its name."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError("is no regular file")
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise ValueError(f"is larger than any secret ({MAX_BYTES} bytes)")
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:  # which would show what is in it
        text = "\0"
    if "\0" in text:
        raise ValueError("is not text")
    if not text.strip():
        raise ValueError("is empty")
    return text


def _stamp(path: str) -> Stamp | None:
    """What tells one state of a file from the next, where a link leads elsewhere, too."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _is_settled(stamp: Stamp) -> bool:
    return abs(time.time() - stamp[2] / 1e9) >= SETTLED_SECONDS


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0
