"""The documentation site builds without a warning, and asks no other site for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(180)  # the site is built once, five seconds on an idle machine

# What a browser fetches by itself; a link is fetched by whoever clicks it.
_FETCHED = re.compile(r"""(?:<(?:script|img|iframe|link)\b[^>]*?|url\()\s*["'(]?(https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    # Material's word about MkDocs 2, which mkdocs.yml does without, is no warning about a page.
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=150
    )
    told = built.stdout + built.stderr
    assert built.returncode == 0, f"`mkdocs build --strict` says:\n{told}"
    assert "WARNING" not in told
    return folder


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("reference/commands", "resumer audit export"),
        ("reference/commands", "RESUMER_DATABASE_URL"),
        ("reference/api", "/api/pauses/{pause_id}/retry"),
        ("reference/reasons", "unsettled"),
        ("reference/receiver", "tracer_provider"),
        ("reference/sdk", "requires_approval"),
        ("reference/settings", "LOOPPAUSE_SIGNING_SECRET_FILE"),
    ],
)
def test_what_is_generated_is_there(site: Path, page: str, text: str) -> None:
    """From the parser, the OpenAPI document, the reasons, the settings and the docstrings."""
    assert text in re.sub("<[^>]*>", "", (site / page / "index.html").read_text())


def test_no_mark_is_left(site: Path) -> None:
    """A misspelt one would leave a hole."""
    pages = [page for page in site.rglob("*.html") if "generated:" in page.read_text()]
    assert pages == []


def test_a_file_of_the_repository_is_a_page(site: Path) -> None:
    """Pages link to examples; the site has them."""
    text = (site / "source/examples/review_agent.py/index.html").read_text()
    assert "signed_review" in text


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """No fonts, no scripts, no pictures of other sites: it works behind a closed door."""
    files = [file for kind in ("*.html", "*.css") for file in site.rglob(kind)]
    assert files
    found = {file.name: _FETCHED.findall(file.read_text()) for file in files}
    assert {name: hits for name, hits in found.items() if hits} == {}
