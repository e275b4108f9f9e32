"""What one check of `resumer doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "fail", "ok", "warn"]


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it stands, and, unless it is fine, how to mend it."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, mend: str) -> Finding:
    """It works, but not as safely or as well as it could."""
    return Finding(check, "warn", found, mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """Something will not work until it is mended."""
    return Finding(check, "fail", found, mend)
