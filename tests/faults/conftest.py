"""The world under attack, over a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .harness import World, attacked


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """Agents and LoopPause; replicas are started by the test."""
    async with attacked(database_url, tmp_path) as found:
        yield found
