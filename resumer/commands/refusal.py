"""What a command says when it cannot do what it was asked to."""

from __future__ import annotations

from resumer.errors import ResumerError

__all__ = ["CommandRefused"]


class CommandRefused(ResumerError):
    """The command cannot do this as it was called; the message says what to change. Exit code 2."""
