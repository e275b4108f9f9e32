"""What is pruned is on disk, whole, before anything is deleted."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resumer.archive import Archive

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


def read(file: Path) -> list[object]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_file_for_each_day_and_kind(tmp_path: Path) -> None:
    """By the day in UTC, for its owner alone, and appended to."""
    archive = Archive(tmp_path)
    archive.append("pauses", [{"n": 1}], NOW)
    archive.append("pauses", [{"n": 2}, {"at": NOW}], NOW)
    archive.append("acts", [{"n": 3}], NOW)

    [acts, pauses] = sorted(tmp_path.iterdir())
    assert (acts.name, pauses.name) == ("acts-2026-11-22.jsonl", "pauses-2026-11-22.jsonl")
    assert read(pauses) == [{"n": 1}, {"n": 2}, {"at": "2026-11-22T23:30:00Z"}]
    assert [file.stat().st_mode & 0o777 for file in (acts, pauses)] == [0o600, 0o600]


def test_one_file_by_hand(tmp_path: Path) -> None:
    """The one that was named, and one beside it for what operators did."""
    archive = Archive(tmp_path / "old.jsonl", is_file=True)
    assert archive.append("pauses", [{}], NOW) == tmp_path / "old.jsonl"
    assert archive.append("acts", [{}], NOW) == tmp_path / "old.acts.jsonl"


@pytest.mark.parametrize("whole", ["", '{"n": 1}\n', '{"n": 1}\n' * 20_000])
@pytest.mark.parametrize("torn", ['{"n"', "x" * 100_000])
def test_what_a_crash_cut_off_is_taken_out(tmp_path: Path, whole: str, torn: str) -> None:
    """Its batch was not deleted and comes again: half a line would spoil the file for a reader."""
    archive = Archive(tmp_path)
    file = archive.file_for("pauses", NOW)
    file.write_text(whole + torn)
    archive.append("pauses", [{"n": 2}], NOW)
    assert file.read_text() == whole + '{"n": 2}\n'


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The error is the caller's, who deletes nothing; with room again it goes on."""
    archive = Archive(tmp_path)
    file = archive.append("pauses", [{"n": 1}], NOW)
    before = file.read_text()
    with room_for(file.stat().st_size + 100), pytest.raises(OSError, match="too large"):
        archive.append("pauses", [{"text": "x" * 1000}], NOW)
    assert file.read_text() == before
    archive.append("pauses", [{"n": 2}], NOW)
    assert read(file) == [{"n": 1}, {"n": 2}]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """It is not made: a disk that is not mounted would be written beside."""
    with pytest.raises(FileNotFoundError):
        Archive(tmp_path / "none").append("pauses", [{}], NOW)


def test_two_that_write_at_once_keep_their_lines_whole(tmp_path: Path) -> None:
    """A pruner that was taken for dead may still be at it."""
    archive = Archive(tmp_path)
    batch = [{"text": "x" * 5000}] * 20

    def write() -> None:
        for _ in range(10):
            archive.append("pauses", batch, NOW)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(archive.file_for("pauses", NOW)) == batch * 40


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow larger, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
