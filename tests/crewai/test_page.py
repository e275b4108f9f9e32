"""docs/crewai.md: its tool has a gate, and its flow hibernates."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from looppause_sdk.testing import FakeLoopPause
from resumer.emulator import Emulator
from resumer.serving import serving

PAGE = (Path(__file__).parents[2] / "docs" / "crewai.md").read_text()


async def test_the_examples_of_the_page_run(
    looppause: FakeLoopPause, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand: the flow asks, and what was started for it has ended."""
    async with serving(Emulator(looppause, deliver=False).app, lifespan="on") as address:
        monkeypatch.setenv("LOOPPAUSE_API_URL", address)
        monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
        monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
        monkeypatch.setenv("DATABASE_URL", database_url)
        names: dict[str, Any] = {"__name__": "page"}
        for block in re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "crewai.md", "exec", dont_inherit=True), names)  # noqa: S102  (the page's)
        assert names["guarded"].name == names["pay"].name
        await asyncio.to_thread(names["refund"])
    [document] = looppause.documents()
    assert document["request"]["agent_id"] == "refunds"
    assert document["status"] == "pending"
