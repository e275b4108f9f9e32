"""A local LoopPause: the same API, an inbox page in the browser, signed webhooks."""

from __future__ import annotations

from .app import Emulator
from .delivery import Backoff
from .opening import open_emulator
from .store import PauseFile, PauseFileError

__all__ = [
    "Backoff",
    "Emulator",
    "PauseFile",
    "PauseFileError",
    "open_emulator",
]
