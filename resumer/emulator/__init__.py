"""A local LoopPause: the same API, an inbox page in the browser, signed webhooks."""

from __future__ import annotations

from .app import Emulator
from .delivery import Backoff
from .serve import emulator_server, open_emulator, serve_emulator, serving
from .store import PauseFile, PauseFileError

__all__ = [
    "Backoff",
    "Emulator",
    "PauseFile",
    "PauseFileError",
    "emulator_server",
    "open_emulator",
    "serve_emulator",
    "serving",
]
