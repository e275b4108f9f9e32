"""Fixtures every kind of test shares."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres

pytest_plugins = ["looppause_sdk.testing.fixtures"]


def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core: half of the time a test waits for another process."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def own_import_path() -> Iterator[None]:
    """A graph that a test loads from its folder is not found there by the tests after it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One PostgreSQL for all tests of this process."""
    # Not in pytest's own folder: under root the server runs as another user, and each new pytest
    # closes that folder to others.
    with (
        tempfile.TemporaryDirectory(prefix="resumer-pg-", ignore_cleanup_errors=True) as folder,
        postgres.running(Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def database_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A database of this test's own, migrated."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def empty_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A database with nothing in it."""
    url = postgres_server.database("template1")
    yield url
    postgres_server.drop(url)
