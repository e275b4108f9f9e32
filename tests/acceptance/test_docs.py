"""Every block of code in the documentation runs or is read by a real parser; links lead somewhere."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from looppause_sdk._live import SECRETS as SECRETS_OF_CLIENTS
from looppause_sdk.testing import FakeLoopPause
from resumer.environment import SECRETS, EnvironmentReader
from tests.pages import DOCS, PAGES, ROOT, Block, blocks, indented, name_of
from tests.shell_lines import command_names, resumer_faults, shell_fault, typed

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
# Their blocks of `py` need what the other pages' tests do without: tests/crewai, tests/contract.
WITH_TESTS_OF_THEIR_OWN = ("docs/crewai.md", "docs/migrating.md")

_INSTRUCTION = re.compile(
    r"#|(ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|RUN|USER|VOLUME|WORKDIR) \S"
)

Faults = Iterable[str]


def with_blocks(*languages: str) -> pytest.MarkDecorator:
    """The pages of docs/ that have such blocks."""
    pages = [page for page in DOCS if blocks(page, *languages)]
    return pytest.mark.parametrize("page", pages, ids=name_of)


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@with_blocks("python")
def test_the_examples_of_a_page_run(
    page: Path, looppause: FakeLoopPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another in one place, as a reader would paste them."""
    monkeypatch.setenv("LOOPPAUSE_API_KEY", "key")
    monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", looppause.secret)
    monkeypatch.setenv("RESUMER_DATABASE_URL", NOWHERE)
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        lines = "\n" * block.line  # so that a traceback names the page's own line
        exec(compile(lines + block.text, name_of(page), "exec", dont_inherit=True), names)  # noqa: S102  (our own page)
    assert len(names) > 2


@every_page
def test_every_block_can_be_read(page: Path) -> None:
    """By the parser of its language; commands and options of `resumer` exist."""
    faults = [f"{block}: {fault}" for block in blocks(page) for fault in faults_of(block)]
    assert faults == []


@every_page
def test_every_block_says_what_it_is(page: Path) -> None:
    """A block that is only indented escapes the checks: fence it, with a language."""
    assert [f"{name_of(page)}:{line}" for line in indented(page)] == []


def test_sql_is_read_by_postgres(database_url: str) -> None:
    """Statements are those of PostgreSQL, whatever tables they are about."""
    scripts = [block for page in PAGES for block in blocks(page, "sql")]
    with psycopg.connect(database_url, autocommit=True) as connection:
        faults = [(str(block), sql_fault(connection, block.text)) for block in scripts]
    assert [(where, fault) for where, fault in faults if fault] == []


@every_page
def test_its_settings_exist(page: Path) -> None:
    """Every RESUMER_… and LOOPPAUSE_… on the page is a variable that our code or deploy/ knows."""
    named = set(re.findall(r"\b(?:RESUMER|LOOPPAUSE)_[A-Z_]*[A-Z]", page.read_text()))
    assert sorted(named - KNOWN) == []


def test_every_setting_has_a_row() -> None:
    """docs/reference/settings.md has those that the environment is read for, and no other."""
    text = (ROOT / "docs/reference/settings.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    ours = {name for name in named if name.startswith(("RESUMER_", "LOOPPAUSE_", "DATABASE_"))}
    read = variables_read()
    assert {"missing": read - ours, "unknown": ours - read - KNOWN} == {
        "missing": set(),
        "unknown": set(),
    }


def test_operating_shows_every_command() -> None:
    """Whoever reads that page alone has heard of all there is."""
    text = (ROOT / "docs/operating.md").read_text()
    assert [name for name in command_names() if f"resumer {name}" not in text] == []


@every_page
def test_its_links_lead_somewhere(page: Path) -> None:
    """No dead link into the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_pictures_are_small_and_shown() -> None:
    """Whoever clones the repository carries each of them for ever."""
    pictures = sorted((ROOT / "docs/images").glob("*.png"))
    pages = "".join(page.read_text() for page in PAGES)
    assert [picture.name for picture in pictures if picture.stat().st_size > 300_000] == []
    assert [picture.name for picture in pictures if picture.name not in pages] == []


def variables_read() -> set[str]:
    """What the receiver looks up in its environment."""
    reader = EnvironmentReader({})
    reader.settings()
    return reader.read


def variables_in_code() -> set[str]:
    """What our code names, and what the files of deploy/ pass on or call their own."""
    files = [*(ROOT / "resumer").rglob("*.py"), *(ROOT / "sdk").rglob("*.py")]
    files += [file for file in (ROOT / "deploy").rglob("*") if file.is_file()]
    text = "".join(file.read_text(errors="replace") for file in files)
    return set(re.findall(r"\b(?:RESUMER|LOOPPAUSE)_[A-Z_]*[A-Z]", text))


KNOWN = variables_read() | variables_in_code()
KNOWN |= {f"{name}_FILE" for name in (*SECRETS, *SECRETS_OF_CLIENTS)}


def faults_of(block: Block) -> Faults:
    """What is wrong with a block, by its language."""
    check = CHECKS.get(block.language)
    if check is None:
        known = ", ".join(sorted(CHECKS))
        return [f"language {block.language!r} is unknown; it must be one of {known}"]
    return list(check(block))


def in_python(block: Block) -> Faults:
    if block.page == ROOT / "README.md":
        return  # run by test_readme.py, which fills in what the README leaves out
    yield from raised_by(lambda text: compile(text, str(block), "exec"), block.text)
    if block.language == "py" and name_of(block.page) not in WITH_TESTS_OF_THEIR_OWN:
        yield "`py` is for pages with tests of their own: write `python`, and it is executed here"


def in_shell(block: Block) -> Faults:
    if fault := shell_fault(block.text):
        yield fault
    else:
        yield from resumer_faults(block.text)


def in_console(block: Block) -> Faults:
    commands = typed(block.text)
    if not commands:
        yield "a console shows what was typed, in lines that begin with `$ `; mere output is `text`"
    yield from resumer_faults(commands)


def in_json(block: Block) -> Faults:
    yield from raised_by(json.loads, block.text)


def in_json_lines(block: Block) -> Faults:
    for line in filter(None, block.text.splitlines()):
        yield from raised_by(json.loads, line)


def in_yaml(block: Block) -> Faults:
    yield from raised_by(lambda text: list(yaml.safe_load_all(text)), block.text)


def in_toml(block: Block) -> Faults:
    yield from raised_by(tomllib.loads, block.text)


def in_ini(block: Block) -> Faults:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    yield from raised_by(parser.read_string, block.text)


def in_braces(block: Block) -> Faults:
    """Nginx and Caddy: a statement ends, and what is opened is closed."""
    code = re.sub(r"#.*", "", block.text)
    if code.count("{") != code.count("}"):
        yield "the braces do not match"
    for line in map(str.strip, code.splitlines()):
        if block.language == "nginx" and line and not line.endswith((";", "{", "}")):
            yield f"{line!r} does not end with ;"


def in_dockerfile(block: Block) -> Faults:
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        if line.strip() and not _INSTRUCTION.match(line):
            yield f"{line!r} is no instruction"


def in_procfile(block: Block) -> Faults:
    for line in block.text.splitlines():
        name, _, command = line.partition(":")
        if not (name.isalpha() and command.strip()):
            yield f"{line!r} is not `name: command`"
        yield from resumer_faults(command)


def unchecked(_block: Block) -> Faults:
    return ()


CHECKS: dict[str, Callable[[Block], Faults]] = {
    "bash": in_shell,
    "caddyfile": in_braces,
    "console": in_console,
    "dockerfile": in_dockerfile,
    "ini": in_ini,
    "json": in_json,
    "jsonl": in_json_lines,
    "nginx": in_braces,
    "procfile": in_procfile,
    "py": in_python,
    "python": in_python,
    "sh": in_shell,
    "sql": unchecked,  # by PostgreSQL, above
    "text": unchecked,
    "toml": in_toml,
    "yaml": in_yaml,
}


def raised_by(parse: Callable[[str], Any], text: str) -> Faults:
    try:
        parse(text)
    except (SyntaxError, ValueError, yaml.YAMLError, configparser.Error) as error:
        yield f"{type(error).__name__}: {error}"


def sql_fault(connection: psycopg.Connection[Any], script: str) -> str | None:
    """PostgreSQL's complaint about the syntax; a function that returns first executes nothing."""
    statements = re.sub(r"(?m)^\\.*$|--.*$", "", script).strip()
    if not statements.endswith(";"):
        return "the last statement does not end with ;"
    try:
        connection.execute(f"DO $docs$ BEGIN RETURN; {statements} END $docs$")
    except psycopg.errors.SyntaxError as error:
        return str(error)
    return None
