"""Commands in blocks of shell: would the real parser of `resumer` take them?"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from typer.main import get_command

from resumer.cli import app

COMMANDS: Any = get_command(app)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_REDIRECTS = ("<", ">")
_DESCRIPTOR = re.compile(r"(?<!\S)\d(?=[<>])")  # the 2 of `2>`, which would pass for a word
_BEFORE = ("-m", "run", "exec", "--", "env", "time", "sudo")


def command_names() -> list[str]:
    """All commands, those of a group with its name before them."""
    return [
        f"{name} {below}".strip()
        for name, command in COMMANDS.commands.items()
        for below in getattr(command, "commands", [""])
    ]


def shell_fault(script: str) -> str | None:
    """What the shell says of a script it cannot read."""
    told = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    return told.stderr.strip() or None


def typed(console: str) -> str:
    """What somebody types in a block that shows answers, too: the lines that begin with `$`."""
    lines, goes_on = [], False
    for line in console.splitlines():
        if goes_on or line.startswith("$ "):
            lines.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    return "\n".join(lines)


def resumer_faults(script: str) -> Iterator[str]:
    """What is wrong with each `resumer …` in it, e.g. an option that does not exist."""
    for words in _simple_commands(script):
        for given in _given_to_resumer(words):
            if fault := _refusal(COMMANDS, given, "resumer"):
                yield f"`resumer {shlex.join(given)}`: {fault}"


def _given_to_resumer(words: Sequence[str]) -> Iterator[list[str]]:
    """The words after `resumer`, where it is run: by itself, by python, uv or docker."""
    for at, word in enumerate(words):
        following = list(words[at + 1 :])
        is_run = at == 0 or words[at - 1] in _BEFORE
        if word == "resumer" and (is_run or (following and following[0] in COMMANDS.commands)):
            yield following
            return


def _simple_commands(script: str) -> Iterator[list[str]]:
    for line in _logical_lines(script):
        lexer = shlex.shlex(_DESCRIPTOR.sub("", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        skips = False
        for word in lexer:
            if set(word) <= set(";|&()"):
                yield _without_assignments(words)
                words = []
            elif word.startswith(_REDIRECTS):
                skips = True
            elif skips:
                skips = False
            else:
                words.append(word)
        yield _without_assignments(words)


def _logical_lines(script: str) -> Iterator[str]:
    """Lines put together that a backslash or an open quote continues."""
    line = ""
    for part in script.splitlines():
        line += part
        if line.endswith("\\"):
            line = line[:-1]
        elif _is_whole(line):
            yield line
            line = ""
        else:
            line += "\n"


def _is_whole(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return False
    return True


def _without_assignments(words: list[str]) -> list[str]:
    while words and (_ASSIGNMENT.match(words[0]) or words[0] == "export"):
        words = words[1:]
    return words


def _refusal(command: Any, words: Sequence[str], name: str, parent: Any = None) -> str | None:
    """What the parser says against it; a group hands what is left to the command it names."""
    children = getattr(command, "commands", None)
    if children and not words:
        return None
    try:
        context = command.make_context(name, list(words), parent=parent)
        if children is None:
            return None
        left = [*context._protected_args, *context.args]
        name, child, rest = command.resolve_command(context, left)
    except Exception as error:  # noqa: BLE001  (typer's own click has the classes under a private name)
        is_answer = type(error).__name__ == "Exit"  # --help and --version
        return None if is_answer else getattr(error, "message", "") or str(error)
    return _refusal(child, rest, name, context)
