"""Machines to run `resumer dev` on, and databases of a user's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.dev_machine import Machine


@pytest.fixture(scope="module")
def make_machine() -> Iterator[Callable[[], Machine]]:
    """Machines in folders that another user may look into, as PostgreSQL does under root."""
    machines: list[Machine] = []
    with tempfile.TemporaryDirectory(prefix="resumer-dev-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)

        def make() -> Machine:
            place = Path(folder) / str(len(machines))
            place.mkdir()
            machines.append(Machine(place))
            return machines[-1]

        yield make
        for machine in machines:
            machine.close()


@pytest.fixture
def machine(make_machine: Callable[[], Machine]) -> Iterator[Machine]:
    """A machine for one test."""
    made = make_machine()
    yield made
    made.close()


@pytest.fixture(scope="module")
def own_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A PostgreSQL of the user's own."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def fresh_url(postgres_server: postgres.Server) -> Iterator[str]:
    """A PostgreSQL of the user's own, for one session: a queue is worked off by all there are."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)
