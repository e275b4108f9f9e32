"""CrewAI with nothing sent anywhere, and people who answer from threads of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.quiet_crewai  # noqa: F401  # before any test module imports crewai
from looppause_sdk.testing import FakeLoopPause


@pytest.fixture
def people(looppause: FakeLoopPause) -> Iterator[object]:
    """Whoever answers the pauses of this test; all their threads have ended with it."""
    from tests.crews import People

    with People(looppause) as made:
        yield made


@pytest.fixture(params=["native", "react"])
def style(request: pytest.FixtureRequest) -> str:
    """How the LLM calls tools: by function calling, or as text that CrewAI reads."""
    return str(request.param)


# Each with who warns of what.
WARNINGS = [
    # It reads settings it has deprecated itself, for every agent there is.
    "ignore:function_calling_llm is deprecated:DeprecationWarning",
    "ignore:deprecated$:DeprecationWarning",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
