"""Pin every resolved version: `python3 -m uv run scripts/pin.py`.

The versions of `uv.lock` go into `constraint-dependencies` of pyproject.toml, and those that the
base dependencies of both distributions need into requirements.txt, for a host that has only pip.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import tomlkit

ROOT = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV", "uv")  # `uv run` names its own binary, which may not be on the path

REQUIREMENTS_HEAD = """\
# Written by scripts/pin.py: what the service runs on, for a host that installs with pip.
"""


def main() -> int:
    """Write both files, or with `--check` report which of them is stale (exit status 1)."""
    options = _parser().parse_args()
    if options.upgrade:
        _write_pyproject([])
        subprocess.run([UV, "lock", "--upgrade"], cwd=ROOT, check=True)
    wanted = {
        ROOT / "pyproject.toml": _pyproject(pins()),
        ROOT / "requirements.txt": requirements(),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if options.check:
        for path in stale:
            print(f"{path.name} is stale: run `python3 -m uv run scripts/pin.py`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
        print(f"wrote {path.name}")
    return 0


def pins() -> list[str]:
    """Every package of the lock that comes from an index, with its exact version."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    packages = [package for package in lock["package"] if "registry" in package["source"]]
    versions = Counter(package["name"] for package in packages)
    return [_pin(package, forked=versions[package["name"]] > 1) for package in packages]


def requirements() -> str:
    """The text of requirements.txt: exact versions, then the two distributions themselves."""
    scope = ["--frozen", "--all-packages", "--no-dev", "--no-emit-workspace"]
    looks = ["--no-hashes", "--no-header", "--no-annotate", "--quiet"]
    export = subprocess.run(
        [UV, "export", *scope, *looks], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return f"{REQUIREMENTS_HEAD}{export.stdout}./sdk\n.\n"


def _pin(package: dict[str, Any], *, forked: bool) -> str:
    pin = f"{package['name']}=={package['version']}"
    # A package locked in two versions says for which environments each of them is.
    return f"{pin} ; {' or '.join(package['resolution-markers'])}" if forked else pin


def _pyproject(constraints: list[str]) -> str:
    document: Any = tomlkit.parse((ROOT / "pyproject.toml").read_text())
    lines = tomlkit.array()
    lines.extend(constraints)
    document["tool"]["uv"]["constraint-dependencies"] = lines.multiline(multiline=True)
    return tomlkit.dumps(document)


def _write_pyproject(constraints: list[str]) -> None:
    (ROOT / "pyproject.toml").write_text(_pyproject(constraints))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare only")
    choice.add_argument("--upgrade", action="store_true", help="let go of all pins first")
    return parser


if __name__ == "__main__":
    sys.exit(main())
