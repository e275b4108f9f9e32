"""What a start does not load: everything that only others need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import resumer

HEAVY = {"crewai", "langchain", "langchain_core", "langgraph", "langsmith", "procrastinate"}

COMMAND = """
import sys
from resumer.cli import main
sys.argv = ["resumer", {arguments}]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
RECEIVER = """
import sys
from resumer import Resumer
Resumer(database_url="postgresql:///none", signing_secrets=["secret"], worker=False)
print(*sys.modules, file=sys.stderr)
"""


def loaded_by(script: str) -> set[str]:
    """The packages that are loaded at the end of a script in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in ended.stderr.split()}


def test_the_sdk_loads_neither_a_framework_nor_cryptography_nor_asyncio() -> None:
    """Importing it takes little longer than httpx; who has a public key loads `cryptography`."""
    found = loaded_by("import sys, looppause_sdk; print(*sys.modules, file=sys.stderr)")
    unwanted = {*HEAVY, "asyncio", "cryptography", "pydantic", "resumer", "typing_extensions"}
    assert "httpx" in found
    assert found.isdisjoint(unwanted)


@pytest.mark.parametrize("arguments", ["'--help'", "'--version'", "'doctor', '--help'"])
def test_a_command_that_only_tells_loads_no_graph_and_no_queue(arguments: str) -> None:
    """Help comes at once, although some commands need everything."""
    found = loaded_by(COMMAND.format(arguments=arguments))
    assert "typer" in found
    assert found.isdisjoint({*HEAVY, "uvicorn"})


def test_what_only_receives_loads_no_graph_and_no_queue() -> None:
    """`resumer web` starts without what its workers need."""
    found = loaded_by(RECEIVER)
    assert "starlette" in found
    assert found.isdisjoint(HEAVY)


def test_the_package_has_its_public_names() -> None:
    """`Resumer` is there for whoever asks, and a misspelt name is reported as with any module."""
    assert all(getattr(resumer, name) for name in resumer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Resumr'"):
        resumer.Resumr  # type: ignore[attr-defined]  # noqa: B018  # the point
