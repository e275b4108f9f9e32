"""pytest fixtures: `pytest_plugins = ["looppause_sdk.testing.fixtures"]` in your conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from . import FakeLoopPause

__all__ = ["looppause", "looppause_ed25519", "looppause_http"]


@pytest.fixture
def looppause() -> FakeLoopPause:
    """A LoopPause of its own for this test, signing with HMAC."""
    return FakeLoopPause()


@pytest.fixture
def looppause_ed25519() -> FakeLoopPause:
    """A LoopPause of its own for this test, signing with Ed25519."""
    return FakeLoopPause(scheme="ed25519")


@pytest.fixture
def looppause_http(looppause: FakeLoopPause) -> Iterator[httpx.Client]:
    """An httpx client whose every request ends in `looppause`; pass it to a LoopPauseClient."""
    with httpx.Client(transport=looppause.transport) as client:
        yield client
