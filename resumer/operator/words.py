"""What an explanation is made of, and the commands that it names."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DISCARD",
    "DOCTOR",
    "NOTHING",
    "RELEASE",
    "RETRY",
    "SWEEP",
    "WORK",
    "Words",
]

Command = tuple[str, ...]

RETRY: Command = ("resumer", "retry", "{pause}")
DISCARD: Command = ("resumer", "discard", "{pause}")
RELEASE: Command = ("resumer", "release", "{held}")
DOCTOR: Command = ("resumer", "doctor")
SWEEP: Command = ("resumer", "reconcile", "--once")
WORK: Command = ("resumer", "worker")


@dataclass(frozen=True)
class Words:
    """A sentence, what is behind it, and what to do. `commands` are what to type, word by word."""

    headline: str
    paragraph: str
    advice: str
    commands: tuple[Command, ...] = ()


NOTHING = "Nothing has to be done: it is looked at again by itself."
