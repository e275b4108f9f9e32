"""The browser of whoever sits at this machine."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from collections.abc import Mapping
from typing import TextIO

__all__ = ["has_desktop", "open_page"]

HEADLESS = ("CI", "SSH_CONNECTION", "SSH_TTY")
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_desktop(env: Mapping[str, str], output: TextIO, platform: str = sys.platform) -> bool:
    """Whether a person at a terminal of this machine would see a browser open."""
    if not output.isatty() or any(env.get(name) for name in HEADLESS):
        return False
    return platform in ("darwin", "win32") or any(env.get(name) for name in DISPLAYS)


async def open_page(url: str) -> bool:
    """Open the page in the person's browser; whether one was found."""
    try:
        return await asyncio.to_thread(webbrowser.open, url)
    except webbrowser.Error:
        return False
