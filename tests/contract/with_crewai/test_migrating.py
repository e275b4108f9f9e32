"""docs/migrating.md: the tool of its crew asks and pays."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from resumer.emulator import Emulator
from resumer.serving import serving
from tests.contract.sdks import CountedLoopPause
from tests.crews import crew_of, run, scripted

PAGE = (Path(__file__).parents[3] / "docs" / "migrating.md").read_text()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")


async def test_the_tool_of_the_page_asks_and_pays(
    looppause: CountedLoopPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, in a crew."""

    def approve(document: dict[str, Any]) -> None:
        if document["status"] == "pending":
            looppause.decide(document["pause_id"])

    looppause.listeners.append(approve)
    async with serving(Emulator(looppause, deliver=False).app, lifespan="on") as address:
        monkeypatch.setenv("LOOPPAUSE_API_URL", address)
        monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
        monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
        names: dict[str, Any] = {}
        for block in re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "migrating.md", "exec", dont_inherit=True), names)  # noqa: S102  (the page's)
        llm = scripted("native", [("pay", {"amount": 5, "to": "ACME"})])
        await asyncio.to_thread(run, crew_of(llm, *names["tools"]))
    [document] = looppause.documents()
    assert document["request"]["action"]["details"] == {"amount": 5, "to": "ACME"}
    assert "paid 5 to ACME" in llm.heard
