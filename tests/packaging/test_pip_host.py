"""A host that has pip and a root requirements.txt, and no uv."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Environment, copy_of_checkout, run

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree, as the host checks it out."""
    return copy_of_checkout(tmp_path_factory.mktemp("host") / "checkout")


@pytest.fixture(scope="module")
def host(checkout: Path) -> Environment:
    """An environment set up by `pip install -r requirements.txt` alone."""
    environment = Environment.made_in(checkout.parent)
    run(environment.bin / "pip", "install", "-q", "-r", "requirements.txt", cwd=checkout)
    return environment


def _versions(host: Environment) -> dict[str, str]:
    lines = host.run("pip", "list", "--format", "freeze").splitlines()
    return dict(line.split("==") for line in lines)


def test_requirements_run_the_service(host: Environment) -> None:
    """The command is there and finds everything it imports."""
    assert "migrate" in host.run("resumer", "--help")
    assert "No broken requirements" in host.run("pip", "check")


def test_the_host_gets_the_pinned_versions(host: Environment) -> None:
    """What pip installed is what pyproject.toml pins."""
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    exact = dict(line.split(" ;")[0].split("==") for line in pinned["constraint-dependencies"])
    own = {"looppause-resumer", "looppause-sdk", "pip", "setuptools", "wheel"}
    installed = {name: text for name, text in _versions(host).items() if name not in own}
    assert installed
    assert {name: exact.get(name) for name in map(_normal, installed)} == {
        _normal(name): version for name, version in installed.items()
    }


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def test_one_pip_command_installs_both_from_source(host: Environment, checkout: Path) -> None:
    """`pip install ./sdk .` finds the SDK beside the service, and not on an index."""
    host.run("pip", "uninstall", "-q", "-y", "looppause-sdk", "looppause-resumer")
    run(host.bin / "pip", "install", "-q", "./sdk", ".", cwd=checkout)
    versions = _versions(host)
    assert versions["looppause-sdk"] == versions["looppause-resumer"]


def test_every_process_of_the_procfile_is_a_command(host: Environment) -> None:
    """A release, a web and a worker process: each command exists, with the options given."""
    processes = dict(
        line.split(": ", 1) for line in (ROOT / "Procfile").read_text().strip().splitlines()
    )
    assert sorted(processes) == ["release", "web", "worker"]
    for command in processes.values():
        program, subcommand, *options = command.split()
        text = host.run(program, subcommand, "--help")
        assert [
            option for option in options if option.startswith("--") and option not in text
        ] == []
