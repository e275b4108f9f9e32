"""The documentation's examples run as they stand, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from looppause_sdk.testing import FakeLoopPause

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def page_id(page: Path) -> str:
    return page.name


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=page_id)
def test_the_examples_of_a_page_run(
    page: Path, looppause: FakeLoopPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another in one place, as a reader would paste them."""
    monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
    monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        exec(compile(block, page.name, "exec", dont_inherit=True), names)  # noqa: S102  (our own page)
    assert len(names) > 2


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_its_links_lead_somewhere(page: Path) -> None:
    """No dead link into the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
