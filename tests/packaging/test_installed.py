"""The wheels, installed in an environment of their own and used from an empty directory."""

from __future__ import annotations

import tomllib

import pytest

from tests.packaging.conftest import ROOT, Environment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

IMPORT_ALONE = """
import sys
import looppause_sdk, looppause_sdk.proof, looppause_sdk.client
frameworks = {"langgraph", "langchain", "langchain_core", "crewai", "resumer"}
print(sorted(frameworks & {name.partition(".")[0] for name in sys.modules}))
print("site-packages" in looppause_sdk.__file__)
"""


def test_the_sdk_works_with_its_base_dependencies(sdk_alone: Environment) -> None:
    """Importing it, its client and its verifier loads no agent framework."""
    assert sdk_alone.run("python", "-c", IMPORT_ALONE).split("\n")[:2] == ["[]", "True"]


def test_the_bare_sdk_has_no_framework_to_load(sdk_alone: Environment) -> None:
    """The import above did not work by luck: LangGraph is not there at all."""
    found = "import importlib.util; print(importlib.util.find_spec('langgraph'))"
    assert sdk_alone.run("python", "-c", found).strip() == "None"


def test_every_name_of_the_sdk_is_there(sdk_alone: Environment) -> None:
    """What `__all__` promises can be had."""
    code = "import looppause_sdk as s; print([n for n in s.__all__ if not hasattr(s, n)])"
    assert sdk_alone.run("python", "-c", code).strip() == "[]"


def test_the_service_is_what_the_wheel_holds(service: Environment) -> None:
    """The installed package is imported, not this checkout."""
    code = "import resumer; print('site-packages' in resumer.__file__)"
    assert service.run("python", "-c", code).strip() == "True"


def test_the_command_explains_itself(service: Environment) -> None:
    """`resumer --help` names what it can do."""
    text = service.run("resumer", "--help")
    for command in ("dev", "serve", "web", "worker", "migrate"):
        assert command in text


def test_the_module_is_the_command(service: Environment) -> None:
    """`python -m resumer` is for where the script is not on the path."""
    assert "migrate" in service.run("python", "-m", "resumer", "--help")


def test_the_command_knows_its_version(service: Environment) -> None:
    """The version printed is the one that was built."""
    assert VERSION in service.run("resumer", "--version")


def test_the_sdk_finds_langgraph_beside_the_service(service: Environment) -> None:
    """The service's base dependencies run the LangGraph gate."""
    service.run("python", "-W", "error", "-c", "import looppause_sdk.langgraph")
