"""The embedded PostgreSQL, and what it leaves behind."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import psycopg

from resumer.embedded import embedded_postgres


def test_a_private_folder_stays_private() -> None:
    """Nobody gets to read the folders above the data, and afterwards nobody gets through them."""
    with tempfile.TemporaryDirectory(prefix="resumer-pg-") as folder:
        private = Path(folder, "private")
        private.mkdir(mode=0o700)
        with embedded_postgres(private / "data" / "postgres") as url:
            mode = stat.S_IMODE(private.stat().st_mode)
            with psycopg.connect(url) as connection:
                assert connection.execute("select 1").fetchone() == (1,)
        assert mode & (stat.S_IRGRP | stat.S_IROTH) == 0
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
