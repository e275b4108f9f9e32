"""What is inside the built distributions."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, build, copy_of_checkout

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

PACKAGES = {"looppause_resumer": ROOT / "resumer", "looppause_sdk": ROOT / "sdk" / "looppause_sdk"}
FindWheel = Callable[[str], Path]


def _sources(package: Path) -> set[str]:
    """Every file of a package's source, named as in its wheel."""
    files = (path for path in package.rglob("*") if path.is_file())
    kept = (path for path in files if "__pycache__" not in path.parts)
    return {path.relative_to(package.parent).as_posix() for path in kept}


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def _contents(dist: Path) -> Iterator[tuple[str, bytes]]:
    for wheel in dist.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            yield from (
                (f"{wheel.name}: {name}", archive.read(name)) for name in archive.namelist()
            )
    for sdist in dist.glob("*.tar.gz"):
        with tarfile.open(sdist) as archive:
            for member in archive:
                if file := archive.extractfile(member):
                    yield f"{sdist.name}: {member.name}", file.read()


def test_both_distributions_are_built(dist: Path) -> None:
    """Two packages, each as wheel and as sdist."""
    built = sorted(path.name for path in dist.iterdir() if not path.name.startswith("."))
    assert [name.split("-")[0] for name in built] == sorted([*PACKAGES, *PACKAGES])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_source_file_is_in_the_wheel(package: str, wheel: FindWheel) -> None:
    """Code, py.typed, SQL, templates and static files: what runs here runs there."""
    source = _sources(PACKAGES[package])
    assert f"{PACKAGES[package].name}/py.typed" in source
    assert source - set(zipfile.ZipFile(wheel(package)).namelist()) == set()


def test_the_example_of_resumer_dev_is_in_the_wheel(wheel: FindWheel) -> None:
    """`resumer dev` works from an installation, away from the repository."""
    with zipfile.ZipFile(wheel("looppause_resumer")) as archive:
        packed = archive.read("resumer/_examples/procurement.py")
    assert packed == (ROOT / "examples" / "procurement.py").read_bytes()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_one_package_and_nothing_else(package: str, wheel: FindWheel) -> None:
    """No tests, scripts or stray files land in somebody's site-packages."""
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel(package)).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {PACKAGES[package].name}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_licence_travels_along(package: str, wheel: FindWheel) -> None:
    """MIT is named in the metadata, and its text is in the wheel."""
    metadata = _metadata(wheel(package))
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    names = zipfile.ZipFile(wheel(package)).namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_base_of_the_sdk_needs_no_framework(wheel: FindWheel) -> None:
    """Whoever installs the bare SDK gets httpx and cryptography and no more."""
    requires = _metadata(wheel("looppause_sdk")).get_all("Requires-Dist") or []
    base = {re.split("[<>=~!;]", line)[0] for line in requires if "extra ==" not in line}
    assert base == {"httpx", "cryptography", "typing-extensions"}  # the last before Python 3.12


def test_nothing_names_the_machine_that_built_it(dist: Path) -> None:
    """No file of any distribution holds the path of this checkout or of this user's home."""
    traces = [str(ROOT).encode() + b"/", str(Path.home()).encode() + b"/"]
    found = [name for name, data in _contents(dist) if any(trace in data for trace in traces)]
    assert found == []


def test_no_lock_file_is_packed(dist: Path) -> None:
    """The lock names registry hosts and stays where it was made."""
    assert [name for name, _ in _contents(dist) if name.endswith("uv.lock")] == []


def test_the_wheels_are_reproducible(dist: Path, tmp_path: Path) -> None:
    """The same source, built in another place at another time, gives the same bytes."""
    again = build(copy_of_checkout(tmp_path / "copy"), tmp_path / "dist")
    for first in dist.glob("*.whl"):
        assert (again / first.name).read_bytes() == first.read_bytes()
