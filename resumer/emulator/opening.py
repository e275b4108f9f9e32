"""Open an emulator in memory or on a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from looppause_sdk.proof import Scheme
from looppause_sdk.testing import FakeLoopPause

from .app import Emulator
from .store import PauseFile

__all__ = ["open_emulator"]


@contextlib.contextmanager
def open_emulator(
    *,
    scheme: Scheme = "hmac",
    secret: str | None = None,
    api_key: str | None = None,
    file: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Iterator[Emulator]:
    """An emulator with its data in memory, or in `file` for as long as the block runs.

    Keys that are not given are made; with a file they stay the same over restarts. `options`
    are those of `Emulator`. Raises `PauseFileError` if the file cannot be used.
    """
    if file is None:
        yield Emulator(FakeLoopPause(scheme=scheme, secret=secret, api_key=api_key), **options)
        return
    with contextlib.closing(PauseFile(file)) as pauses:
        fake = FakeLoopPause(
            scheme=scheme,
            secret=pauses.secret() if secret is None else secret,
            private_key=pauses.private_key(),
            api_key=api_key,
            pauses=pauses,
        )
        yield Emulator(fake, **options)
