"""What the documentation's commands are checked with finds what is wrong, and nothing else."""

from __future__ import annotations

import pytest

from tests.shell_lines import command_names, resumer_faults, shell_fault, typed


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("resumer serve --prot 8000", "No such option"),
        ("resumer servve", "No such command"),
        ("resumer audit exprot", "No such command"),
        ("resumer explain", "Missing"),
        ("resumer serve --port many", "valid integer"),
        ("resumer trigger maybe", "is not one of"),
        ("A=1 B='x y' resumer retry --all-parkd", "No such option"),
        ("source env && resumer pauses --sate parked | tail", "No such option"),
        ("python3 -m uv run resumer doctor --jsn", "No such option"),
        ("docker run --rm image resumer migrate --all", "No such option"),
        ("resumer retry \\\n  --all-parked --no-way", "No such option"),
    ],
)
def test_what_the_parser_refuses_is_found(script: str, says: str) -> None:
    """By itself, after assignments, in a pipe, over several lines, run by python or docker."""
    [fault] = resumer_faults(script)
    assert says in fault


@pytest.mark.parametrize(
    "script",
    [
        "resumer",
        "resumer --help",
        "resumer serve --help",
        "resumer retry PAUSE --by ada  # --nonsense in a comment",
        "resumer migrate && resumer serve --host 0.0.0.0 --port 8000",
        "resumer audit export --out new.jsonl > log 2> faults",
        "docker build -f deploy/Dockerfile -t resumer .",
        "docker run --rm --env-file resumer.env resumer resumer web",
        "pip install resumer nonsense",
        "echo 'resumer nonsense'",
        "resumer pauses --limit 2 > log 2>&1",
        "resumer dev --graph agent.py:graph --input '{\"amount\": 5}'",
    ],
)
def test_what_it_takes_is_left_alone(script: str) -> None:
    """As is what only looks like a command of ours."""
    assert list(resumer_faults(script)) == []


def test_what_bash_cannot_read_is_found() -> None:
    """An open quote, for one."""
    assert shell_fault("echo 'open") is not None
    assert shell_fault("echo closed") is None


def test_of_a_console_only_what_was_typed_counts() -> None:
    """With the lines that a backslash continues."""
    assert typed("$ one \\\n  two\nanswer\n$ three") == "one \\\n  two\nthree"


def test_commands_of_groups_are_named_with_their_group() -> None:
    """As somebody types them."""
    assert {"serve", "audit export", "audit log"} <= set(command_names())
