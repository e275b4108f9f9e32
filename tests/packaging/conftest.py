"""The wheels as a user gets them, and fresh environments away from the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_DATE_EPOCH = "1700000000"
NOT_SOURCE = (
    ".git",
    ".venv",
    "uv.lock",
    "dist",
    ".resumer",
    ".*_cache",
    "__pycache__",
    ".hypothesis",
)


def uv_command() -> str:
    """The uv that runs this session, or the one on the path."""
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        pytest.fail("no uv: run `python3 -m uv run pytest -m packaging`")
    return found


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its end and return what it printed; a failure shows all of it."""
    kept = {name: text for name, text in os.environ.items() if name not in _OURS}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# What would lead a fresh environment back into ours, or colour its output.
_OURS = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "FORCE_COLOR", "CLICOLOR_FORCE"}


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, used from an empty directory."""

    path: Path

    @classmethod
    def made_in(cls, folder: Path) -> Environment:
        """Make one with pip in it, and somewhere empty to work."""
        run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        (folder / "elsewhere").mkdir()
        return cls(folder)

    @property
    def bin(self) -> Path:
        """Where its commands are."""
        return self.path / "venv" / "bin"

    def run(self, command: str, *arguments: str | Path) -> str:
        """Run one of its commands from the empty directory."""
        return run(self.bin / command, *arguments, cwd=self.path / "elsewhere")

    def uv_install(self, *packages: Path) -> None:
        """Install with uv in the versions that pyproject.toml pins."""
        python = self.bin / "python"
        run(uv_command(), "pip", "install", "--python", python, *packages, cwd=ROOT)


def build(source: Path, target: Path) -> Path:
    """Build both distributions from `source` into `target`."""
    command = [uv_command(), "build", "--all-packages", "--out-dir", str(target)]
    run(*command, cwd=source, SOURCE_DATE_EPOCH=SOURCE_DATE_EPOCH)
    return target


def copy_of_checkout(target: Path) -> Path:
    """Copy the source tree as a clone would have it."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    return target


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both wheels and both sdists."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Callable[[str], Path]:
    """Find the one wheel of a package."""

    def find(package: str) -> Path:
        (path,) = dist.glob(f"{package}-*.whl")
        return path

    return find


@pytest.fixture(scope="session")
def service(wheel: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with both wheels and their base dependencies."""
    environment = Environment.made_in(tmp_path_factory.mktemp("service"))
    environment.uv_install(wheel("looppause_sdk"), wheel("looppause_resumer"))
    return environment


@pytest.fixture(scope="session")
def sdk_alone(
    wheel: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """An environment with the SDK's wheel and its base dependencies, and nothing else."""
    environment = Environment.made_in(tmp_path_factory.mktemp("sdk"))
    environment.uv_install(wheel("looppause_sdk"))
    return environment
