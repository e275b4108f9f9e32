"""What a build is made of, said in a form that scanners read."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, SOURCE_DATE_EPOCH, run, uv_command

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(120)]


def written(path: Path) -> bytes:
    """The SBOM that the script writes."""
    command = (sys.executable, "scripts/sbom.py", path)
    run(*command, cwd=ROOT, UV=uv_command(), SOURCE_DATE_EPOCH=SOURCE_DATE_EPOCH)
    return path.read_bytes()


def test_the_sbom_names_every_pinned_package_and_nothing_of_the_machine(tmp_path: Path) -> None:
    """The versions of requirements.txt, each with its files' hashes; twice the same bytes."""
    text = written(tmp_path / "sbom.json")
    assert written(tmp_path / "again.json") == text
    found = json.loads(text)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.split(" ")[0] for line in lines if re.match("[a-z]", line)}
    parts = [part for part in found["components"] if "purl" in part]  # ours are in no index
    named = {f"{part['name']}=={part['version']}" for part in parts}
    assert named == pinned
    files = [ref for part in parts for ref in part["externalReferences"]]
    assert all(ref["hashes"][0]["alg"] == "SHA-256" for ref in files)
    assert all(ref["url"].startswith("pkg:pypi/") for ref in files)
    assert b"://" not in text
    assert str(ROOT).encode() not in text
