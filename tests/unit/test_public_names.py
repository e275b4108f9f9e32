"""What `import looppause_sdk` offers, and what it leaves alone."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import looppause_sdk
from looppause_sdk import errors

PUBLISHED = (
    "LoopPauseClient",
    "LoopPauseDenied",
    "LoopPauseError",
    "LoopPauseUnavailable",
    "Proof",
    "stable_idempotency_key",
    "verify_signature",
)


def test_all_is_sorted_and_has_no_name_twice() -> None:
    """The list reads like an index."""
    assert looppause_sdk.__all__ == sorted(set(looppause_sdk.__all__))


@pytest.mark.parametrize("name", looppause_sdk.__all__)
def test_every_public_name_resolves(name: str) -> None:
    """Nothing is promised that is not there."""
    assert getattr(looppause_sdk, name) is not None


@pytest.mark.parametrize("name", [*PUBLISHED, *errors.__all__])
def test_what_users_need_is_public(name: str) -> None:
    """The names of 0.1.0 and every error are importable from the top."""
    assert name in looppause_sdk.__all__


def test_the_version_is_the_distributions() -> None:
    """`__version__` says what is installed."""
    assert looppause_sdk.__version__ == importlib.metadata.version("looppause-sdk")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name is reported as with any module."""
    with pytest.raises(AttributeError, match="no attribute 'LoopPauseKlient'"):
        looppause_sdk.LoopPauseKlient  # type: ignore[attr-defined]  # noqa: B018  # the point


def test_importing_the_sdk_loads_no_framework() -> None:
    """The base install works without the agent frameworks, and starts no slower for them."""
    script = (
        "import sys, looppause_sdk; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    frameworks = {"crewai", "langchain", "langchain_core", "langgraph", "pydantic", "resumer"}
    assert frameworks.isdisjoint(loaded.stdout.split())
