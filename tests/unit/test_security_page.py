"""docs/security.md: what it says is shown by tests, and those that it names exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resumer.environment import SECRETS

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
# A checkpoint that names a function instead of a type: `os.mkdir`, with a folder's name.
FORGED = """
import sys, ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
call = ormsgpack.packb(["os", "mkdir", sys.argv[1]])
JsonPlusSerializer().loads_typed(("msgpack", ormsgpack.packb({"x": ormsgpack.Ext(0, call)})))
"""


def test_every_test_that_it_names_exists() -> None:
    """A claim whose test was renamed or taken out is noticed."""
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    sources = {file: (TESTS / file).read_text() for file, _ in named}
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources[file]] == []
    assert len(named) > 30


def test_every_secret_that_may_be_in_a_file_is_listed() -> None:
    """But for remote graphs' own, which their page has."""
    ours = [name for name in SECRETS if "REMOTE" not in name]
    assert [name for name in ours if f"`{name}_FILE`" not in PAGE] == []


@pytest.mark.parametrize("strict", ["true", "false"])
def test_a_forged_checkpoint_runs_code_unless_strict(tmp_path: Path, strict: str) -> None:
    """What LangGraph does, and why the setting matters: if this changes, so must the page."""
    made = tmp_path / "made-by-a-checkpoint"
    env = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": strict}
    command = [sys.executable, "-W", "ignore", "-c", FORGED, str(made)]
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert made.exists() is (strict == "false")
