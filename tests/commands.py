"""Run the `resumer` command in this process, with an environment of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from looppause_sdk.errors import LoopPauseError
from resumer import cli
from resumer.errors import ResumerError

_OURS = re.compile("RESUMER_|LOOPPAUSE_|LANGGRAPH_|DATABASE_URL|PORT$")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def text(self) -> str:
        """Its output without the line breaks that the terminal's width makes."""
        return " ".join(self.out.split())


async def resumer(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> Ended:
    """Run the command beside this event loop; expected errors end it as `main` does, with 2."""
    return await asyncio.to_thread(_run, arguments, env or {}, stdin)


def _run(arguments: tuple[str, ...], env: Mapping[str, str], stdin: bytes) -> Ended:
    without = dict.fromkeys(name for name in os.environ if _OURS.match(name))
    result = CliRunner().invoke(
        cli.app,
        list(arguments),
        input=stdin,
        env={**without, "COLUMNS": "80", "NO_COLOR": "1", **env},
    )
    if isinstance(result.exception, (ResumerError, LoopPauseError)):
        return Ended(2, result.stdout, f"resumer: {result.exception}\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)
