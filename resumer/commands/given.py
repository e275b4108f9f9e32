"""What is given on a command line, made into what it stands for, or refused with the reason."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import typer

from resumer.model import State
from resumer.operator.asking import BadRequest, name_of, text_of
from resumer.operator.limits import MOST_REASON
from resumer.operator.views import Filter

from .refusal import CommandRefused

__all__ = ["agreed", "checked", "filter_of", "moment_of", "reason_of", "who"]

T = TypeVar("T")

_AGE = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def checked(read: Callable[[str, Any], T], name: str, value: Any) -> T:
    """`value` as `read` makes it. Raises `CommandRefused` that names the option."""
    try:
        return read(name, value)
    except BadRequest as error:
        raise CommandRefused(str(error)) from error


def filter_of(
    now: datetime,
    *,
    states: Sequence[State] | None = None,
    agent: str | None = None,
    thread: str | None = None,
    reason: str | None = None,
    older: str | None = None,
    newer: str | None = None,
    text: str | None = None,
) -> Filter:
    """The pauses that the options narrow to. Raises `CommandRefused`."""

    def plain(name: str, value: str | None) -> str | None:
        return None if value is None else checked(text_of, name, value)

    return Filter(
        states=tuple(dict.fromkeys(states or ())),
        agent_id=plain("--agent", agent),
        thread_id=plain("--thread", thread),
        reason_code=plain("--reason", reason),
        created_after=moment_of("--newer", newer, now),
        created_before=moment_of("--older", older, now),
        text=plain("--text", text),
    )


def moment_of(name: str, text: str | None, now: datetime) -> datetime | None:
    """The time that `2h` (so long ago), a date or a time stands for; UTC where it has no offset.

    Raises `CommandRefused`.
    """
    if text is None:
        return None
    try:
        if age := _AGE.fullmatch(text.strip()):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandRefused(
            f"{name}: give an age (90s, 30m, 2h, 3d, 1w), a day (2026-11-22) or a time "
            "(2026-11-22T03:00:00Z)"
        ) from None


def reason_of(text: str | None) -> str | None:
    """Why, in an operator's words. Raises `CommandRefused`."""
    if text is None:
        return None
    if len(checked(text_of, "--reason", text)) > MOST_REASON:
        raise CommandRefused(f"--reason: must have at most {MOST_REASON} characters")
    return text


def who(by: str | None) -> str:
    """The name that the audit gets: the one given, else the user's of this system.

    Not from variables such as USER, which anybody may set. Raises `CommandRefused`.
    """
    if by is not None:
        return checked(name_of, "--by", by)
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container with a user id of its own
        return f"user {os.getuid()}"


def agreed(question: str, *, yes: bool) -> bool:
    """Whether it is to be done: `yes`, else what is answered on the terminal.

    Raises `CommandRefused` where there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise CommandRefused("there is nobody here to confirm it: say --yes")
    return typer.confirm(question, err=True)
