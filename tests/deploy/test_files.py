"""Every file of deploy/ before the validator of its kind, and against what the program really has."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from resumer import Resumer, cli, environment
from resumer.collect import LONGEST_WAIT
from resumer.processes import SPARE_SECONDS
from resumer.settings import Settings
from tests.deploy.conftest import DEPLOY, ROOT, check

pytestmark = pytest.mark.deploy

DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Settings)}
# When a process ends itself by force.
LAST_SECOND = 2 * DEFAULTS["drain_seconds"] + SPARE_SECONDS


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text()


def loaded(name: str) -> Any:
    """A file as what it is: TOML, JSON or YAML."""
    if name.endswith(".toml"):
        return tomllib.loads(text_of(name))
    return yaml.safe_load(text_of(name))


def values(document: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, however deep."""
    if isinstance(document, list):
        for each in document:
            yield from values(each, key)
    elif isinstance(document, dict):
        for name, value in document.items():
            if name == key:
                yield value
            yield from values(value, key)


# -- validators ---------------------------------------------------------------------------------


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """Not even what is only a matter of taste."""
    assert check("hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile") == ""


def test_compose_is_of_the_compose_specification() -> None:
    """The specification's own schema."""
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("name", ["caddy/Caddyfile"])
def test_caddy_would_not_format_it_otherwise(name: str, tmp_path: Path) -> None:
    """Whether it runs is in test_proxies."""
    assert check("caddy", "fmt", DEPLOY / name, HOME=str(tmp_path)) == text_of(name)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, with a program that is there."""
    folder = tmp_path_factory.mktemp("units")
    for path in (DEPLOY / "systemd").iterdir():
        text = path.read_text().replace("/opt/resumer/bin/resumer", "/bin/true")
        (folder / path.name).write_text(text)
    return folder


def test_systemd_takes_the_units(units: Path) -> None:
    """With every instance that the target wants; what it only warns of is an error here, too."""
    wanted = re.findall(r"resumer-\w+@\d+\.service", text_of("systemd/resumer.target"))
    assert len(wanted) == 4
    names = ["resumer.target", "resumer-migrate.service", *wanted]
    assert check("systemd-analyze", "verify", *(units / name for name in names)) == ""


@pytest.mark.parametrize("name", ["resumer-migrate", "resumer-web@", "resumer-worker@"])
def test_systemd_finds_them_hardened(units: Path, name: str) -> None:
    """An exposure of at most 1.4 of 10."""
    told = ("--no-pager", "--offline=true", "--threshold=14", units / f"{name}.service")
    assert "OK" in check("systemd-analyze", "security", *told)


# -- commands -----------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of every file, and where it stands."""
    dockerfile = text_of("Dockerfile")
    yield "Dockerfile", json.loads(re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)[0])
    for line in (ROOT / "Procfile").read_text().splitlines():
        yield "Procfile", shlex.split(line.split(": ", 1)[1].replace("$PORT", "8000"))
    for service in loaded("compose.yaml")["services"].values():
        if "command" in service:
            yield "compose.yaml", service["command"]
    for path in (DEPLOY / "kubernetes").rglob("*.yaml"):
        for command in values(list(yaml.safe_load_all(path.read_text())), "command"):
            if command[0] != "sleep":
                yield f"kubernetes/{path.name}", command
    for path in (DEPLOY / "systemd").glob("*.service"):
        (line,) = re.findall(r"^ExecStart=/opt/resumer/bin/(.*)$", path.read_text(), re.MULTILINE)
        yield path.name, shlex.split(line.replace("%i", "8001"))
    for name in ("fly.toml", "render.yaml", "railway.json", "railway.worker.json"):
        for line in _lines(loaded(name)):
            yield name, shlex.split(line)


def _lines(document: Any) -> Iterator[str]:
    keys = ("release_command", "dockerCommand", "startCommand", "preDeployCommand")
    for key in keys:
        for value in values(document, key):
            yield from [value] if isinstance(value, str) else value
    yield from document.get("processes", {}).values() if isinstance(document, dict) else ()


@pytest.mark.parametrize(("where", "command"), list(commands()), ids=str)
def test_the_command_is_one_of_ours(where: str, command: list[str]) -> None:
    """It exists, and so do its options."""
    program, name, *arguments = command
    assert program == "resumer"
    group: Any = typer.main.get_command(cli.app)
    found = group.get_command(click.Context(group), name)
    found.make_context(name, arguments)


def test_each_place_migrates_receives_and_resumes() -> None:
    """No process is forgotten anywhere."""
    told: dict[str, set[str]] = {}
    for where, command in commands():
        place = re.sub(r"^(kubernetes|railway|resumer-).*", r"\1", where)
        told.setdefault(place, set()).add(command[1])
    told.pop("Dockerfile")
    assert set(map(frozenset, told.values())) == {frozenset({"migrate", "web", "worker"})}
    assert len(told) == 7


# -- settings, paths, sizes and times -----------------------------------------------------------

FILES = [
    path
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and path.suffix not in {".json", ".md"} and "grafana" not in path.parts
]
OF_THE_FILES_THEMSELVES = {"RESUMER_IMAGE", "RESUMER_SITE", "RESUMER_HOST", "RESUMER_PORT"}


def test_every_variable_is_a_setting() -> None:
    """A name that is misspelt would be passed over in silence."""
    known = {f"RESUMER_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    known |= set(re.findall(r'"([A-Z_]{6,})"', Path(environment.__file__).read_text()))
    known |= {f"{name}_FILE" for name in environment.SECRETS} | OF_THE_FILES_THEMSELVES
    used = {
        name
        for path in FILES
        for name in re.findall(r"\b((?:RESUMER|LOOPPAUSE)_[A-Z_]+|DATABASE_URL)", path.read_text())
    }
    assert {"RESUMER_DATABASE_URL_FILE", "LOOPPAUSE_API_KEY", "RESUMER_DRAIN_SECONDS"} <= used
    assert used - known == set()


def test_no_secret_is_in_a_file() -> None:
    """Secrets are files of their own, or asked for by the host."""
    for path in FILES:
        for name in environment.SECRETS:
            given = re.findall(rf"\b{name}[ \"']*[=:](?!\.\.\.) *(\S+)", path.read_text())
            assert given == [], path.name


def test_every_path_of_a_probe_is_a_route() -> None:
    """A probe of what is not there would keep every replica out."""
    resumer = Resumer(database_url="postgresql://nowhere/x", signing_secrets=["s"], worker=False)
    web = {route.path for route in resumer._health.routes()}
    worker = {route.path for route in resumer._health.worker_routes()}
    assert set(re.findall(r"127\.0\.0\.1:8000(/[\w/]+)", text_of("Dockerfile"))) <= web
    assert set(re.findall(r"127\.0\.0\.1:9464(/[\w/]+)", text_of("compose.yaml"))) <= worker
    for name in ("fly.toml", "render.yaml", "railway.json"):
        found = {*values(loaded(name), "path"), *values(loaded(name), "healthCheckPath")}
        found |= set(values(loaded(name), "healthcheckPath"))
        assert found == {"/readyz/receive"} < {*web, ""}, name


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("nginx/snippets/resumer.conf", r"^client_max_body_size (\d+);"),
        ("caddy/Caddyfile", r"max_size (\d+)"),
        ("caddy/Caddyfile", r"Content-Length}\) > (\d+)"),
        ("kubernetes/base/web.yaml", r"proxy-body-size: \"(\d+)\""),
        ("kubernetes/base/settings.yaml", r"RESUMER_MAX_BODY_BYTES: \"(\d+)\""),
    ],
)
def test_the_sizes_are_the_receivers(name: str, pattern: str) -> None:
    """A proxy that takes less would refuse what is genuine."""
    assert re.findall(pattern, text_of(name), re.MULTILINE) == [str(DEFAULTS["max_body_bytes"])]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("nginx/snippets/resumer.conf", r"proxy_read_timeout (\d+)s;"),
        ("caddy/Caddyfile", r"write (\d+)s"),
        ("caddy/Caddyfile", r"response_header_timeout (\d+)s"),
        ("kubernetes/base/web.yaml", r"proxy-read-timeout: \"(\d+)\""),
    ],
)
def test_a_proxy_waits_longer_than_a_client_may(name: str, pattern: str) -> None:
    """Whoever waits for an answer with ?wait= is not cut off."""
    (seconds,) = re.findall(pattern, text_of(name))
    assert int(seconds) > LONGEST_WAIT


@pytest.mark.parametrize(
    ("name", "pattern", "before"),
    [
        ("compose.yaml", r"x-resumer(?s:.*?)stop_grace_period: (\d+)s", 0),
        ("kubernetes/base/web.yaml", r"terminationGracePeriodSeconds: (\d+)", 5),
        ("kubernetes/base/worker.yaml", r"terminationGracePeriodSeconds: (\d+)", 0),
        ("systemd/resumer-web@.service", r"TimeoutStopSec=(\d+)", 0),
        ("systemd/resumer-worker@.service", r"TimeoutStopSec=(\d+)", 0),
        ("fly.toml", r"kill_timeout = (\d+)", 0),
        ("railway.json", r"drainingSeconds\": (\d+)", 0),
        ("railway.worker.json", r"drainingSeconds\": (\d+)", 0),
        ("render.yaml", r"maxShutdownDelaySeconds: (\d+)", 0),
    ],
)
def test_a_process_has_the_time_to_end(name: str, pattern: str, before: int) -> None:
    """It gives back what runs and ends by itself before it is killed."""
    found = re.findall(pattern, text_of(name))
    assert found
    assert all(int(seconds) >= before + LAST_SECOND for seconds in found)


# -- secrets, networks and whatever else a file names twice -------------------------------------


SERVICES: dict[str, Any] = loaded("compose.yaml")["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose_has_what_it_names(name: str) -> None:
    """Its secrets are there, those and no others; so is what it waits for and belongs to."""
    whole, service = loaded("compose.yaml"), SERVICES[name]
    environment = service.get("environment", {})
    files = {value for key, value in environment.items() if key.endswith("_FILE")}
    assert files == {f"/run/secrets/{secret}" for secret in service.get("secrets", ())}
    assert set(service.get("secrets", ())) <= set(whole["secrets"])
    assert set(service["networks"]) <= set(whole["networks"])
    assert set(service.get("depends_on", ())) <= set(SERVICES)


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_a_service_of_compose_is_confined(name: str) -> None:
    """Nothing to write to, no capability but a proxy's port, and none to be had later."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])


def test_the_database_is_out_of_reach() -> None:
    """Of the proxy and of the world; and it has no way out."""
    networks = loaded("compose.yaml")["networks"]
    assert SERVICES["postgres"]["networks"] == ["data"]
    assert networks["data"] == {"internal": True}
    assert "data" not in SERVICES["proxy"]["networks"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]


@pytest.mark.parametrize(
    "path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name
)
def test_a_unit_is_given_the_secrets_that_it_reads(path: Path) -> None:
    """As credentials, those and no others."""
    given = re.findall(r"^LoadCredential=([\w-]+):", path.read_text(), re.MULTILINE)
    read = re.findall(r"^Environment=\w+_FILE=%d/([\w-]+)$", path.read_text(), re.MULTILINE)
    assert given == read != []


# -- the image ----------------------------------------------------------------------------------


def test_what_the_image_is_made_of_is_in_its_context() -> None:
    """What is copied exists, and is not left out of the context; nothing else is in it."""
    ignored = text_of("Dockerfile.dockerignore").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text_of("Dockerfile"), re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert {name.removeprefix("./") for name in copied} == allowed
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    assert "*" in ignored


def test_the_image_is_built_with_the_pinned_uv() -> None:
    """The line of the Dockerfile that reads its version out of pyproject.toml."""
    (command,) = re.findall(r"\$\((sed .*? pyproject\.toml)\)", text_of("Dockerfile"))
    found = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, check=True, capture_output=True, text=True
    )
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert found.stdout.strip() in pinned["constraint-dependencies"]
