"""Pauses and signing keys in one SQLite file, for one emulator at a time."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PauseFile", "PauseFileError"]

_SCHEMA = """
create table if not exists pauses (pause_id text primary key, document text not null);
create table if not exists keys (name text primary key, value text not null);
"""


class PauseFileError(Exception):
    """The emulator's file cannot be used; the message says why and what to do."""


class PauseFile(MutableMapping[str, dict[str, Any]]):
    """The store of a `FakeLoopPause` that outlives its process.

    Everything is read once and written through; only its owner may read the file, since it
    holds the signing keys. Raises `PauseFileError` if the file is no such file, or in use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            _make_private(self.path)
            self._database = _connect(self.path)
            rows = self._database.execute("select pause_id, document from pauses order by rowid")
            self._documents: dict[str, dict[str, Any]] = {
                pause_id: json.loads(document) for pause_id, document in rows
            }
        except sqlite3.OperationalError as error:
            raise PauseFileError(
                f"{self.path} cannot be used ({error}): is another emulator using it?"
            ) from error
        except (OSError, ValueError, sqlite3.DatabaseError) as error:
            raise PauseFileError(
                f"{self.path} cannot be used as the emulator's file: {error}"
            ) from error

    def close(self) -> None:
        """Give the file free for another emulator."""
        self._database.close()

    def secret(self) -> str:
        """The HMAC secret of this file, made when first asked for."""
        return self._key("secret", secrets.token_hex(32))

    def private_key(self) -> Ed25519PrivateKey:
        """The Ed25519 key of this file, made when first asked for."""
        fresh = Ed25519PrivateKey.generate().private_bytes_raw().hex()
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self._key("ed25519", fresh)))

    def _key(self, name: str, fresh: str) -> str:
        self._database.execute("insert or ignore into keys values (?, ?)", (name, fresh))
        rows = self._database.execute("select value from keys where name = ?", (name,))
        value: str = rows.fetchone()[0]
        return value

    def __getitem__(self, pause_id: str) -> dict[str, Any]:
        return self._documents[pause_id]

    def __setitem__(self, pause_id: str, document: dict[str, Any]) -> None:
        self._database.execute(
            "insert into pauses values (?, ?)"
            " on conflict (pause_id) do update set document = excluded.document",
            (pause_id, json.dumps(document)),
        )
        self._documents[pause_id] = document

    def __delitem__(self, pause_id: str) -> None:
        del self._documents[pause_id]
        self._database.execute("delete from pauses where pause_id = ?", (pause_id,))

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _connect(path: Path) -> sqlite3.Connection:
    # The brain calls from whichever thread its caller is in, one at a time under its lock.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(database.close)
        # The lock is held until close: a second emulator would not see our writes.
        database.execute("pragma locking_mode = exclusive")
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")
        database.executescript(f"begin exclusive; {_SCHEMA} commit;")
        on_failure.pop_all()
    return database
