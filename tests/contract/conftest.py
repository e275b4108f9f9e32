"""Both SDKs, each over a LoopPause of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.contract.sdks import CountedLoopPause, Ours, Published
from tests.postgres import Server


@pytest.fixture
def looppause() -> CountedLoopPause:
    return CountedLoopPause()


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes databases of this test's own; PostgreSQL starts with the first."""
    made: list[str] = []

    def new() -> str:
        server: Server = request.getfixturevalue("postgres_server")
        made.append(server.database())
        return made[-1]

    yield new
    for url in made:
        request.getfixturevalue("postgres_server").drop(url)


@pytest.fixture
def ours(looppause: CountedLoopPause, new_database: Callable[[], str]) -> Iterator[Ours]:
    with ExitStack() as stack:
        yield Ours(looppause, new_database, stack)


@pytest.fixture
def published(looppause: CountedLoopPause, new_database: Callable[[], str]) -> Iterator[Published]:
    with ExitStack() as stack:
        yield Published(looppause, new_database, stack)
