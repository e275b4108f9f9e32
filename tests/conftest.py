"""Fixtures every kind of test shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres

pytest_plugins = ["looppause_sdk.testing.fixtures"]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """One PostgreSQL for all tests of this process."""
    with postgres.running(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A database of this test's own, migrated."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)
