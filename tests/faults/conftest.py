"""The world under attack, over a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .harness import World, attacked
from .nursery import Nursery, nursery


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where replicas come from."""
    with nursery(tmp_path_factory.mktemp("nursery")) as found:
        yield found


@pytest.fixture
async def world(database_url: str, tmp_path: Path, forks: Nursery) -> AsyncIterator[World]:
    """Agents and LoopPause; replicas are started by the test."""
    async with attacked(database_url, tmp_path, spawn=forks) as found:
        yield found
