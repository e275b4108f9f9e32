"""What a session starts with: the states of its threads, and the settings of its parts."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resumer.emulator import Emulator
from resumer.errors import SettingsError

from .own_agent import OwnAgent

__all__ = ["API_KEY", "example", "session_environment", "states_for", "write_private"]

API_KEY = "local-development"
INVOICES = (
    {"number": "2026-0117", "supplier": "Acme Corp", "amount": 12450, "currency": "EUR"},
    {"number": "2026-0118", "supplier": "Globex GmbH", "amount": 980, "currency": "EUR"},
    {"number": "2026-0119", "supplier": "Initech Ltd", "amount": 47300, "currency": "USD"},
)


def states_for(own: OwnAgent | None, state: str | None, decision: str | None) -> Iterator[Any]:
    """What to start threads with: one for the user's agent, one after another for ours.

    Raises `SettingsError` if the options do not go together.
    """
    if state is not None and own is None:
        raise SettingsError(["--input is for a graph of yours: give --graph as well"])
    if own is not None and state is not None:
        return iter([_json(state, for_a_flow=own.is_flow)])
    if own is not None and decision is not None:
        raise SettingsError(["--approve and --reject need a thread: give --input as well"])
    if own is not None:
        return iter(())
    return ({"invoice": invoice} for invoice in itertools.cycle(INVOICES))


def session_environment(emulator: Emulator, address: str, webhook: str, url: str) -> dict[str, str]:
    """The settings that an agent and the receiver read, for this session."""
    fake = emulator.fake
    key = (
        {"LOOPPAUSE_SIGNING_SECRET": fake.secret}
        if fake.scheme == "hmac"
        else {"LOOPPAUSE_PUBLIC_KEYS": json.dumps([fake.public_key])}
    )
    return {
        "DATABASE_URL": url,
        "LOOPPAUSE_API_KEY": API_KEY,
        "LOOPPAUSE_API_URL": address,
        "LOOPPAUSE_WEBHOOK_URL": webhook,
        **key,
    }


def write_private(path: Path, environment: Mapping[str, str]) -> None:
    """Write a file that a shell can source, for its owner only."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines))


def example() -> str:
    """The agent from `examples/`, which the wheel carries along."""
    package = Path(__file__).parents[1]
    folders = (package / "_examples", package.parent / "examples")
    path = next(folder / "procurement.py" for folder in folders if folder.is_dir())
    return f"{path}:graph"


def _json(text: str, *, for_a_flow: bool) -> Any:
    try:
        state = json.loads(text)
    except json.JSONDecodeError as error:
        quoted = f"; a text is given in quotes, as in '{json.dumps(text)}'"
        hint = "" if text.lstrip().startswith(("{", "[")) else quoted
        raise SettingsError([f"--input is not JSON: {error}{hint}"]) from error
    if state is None:
        raise SettingsError(["--input: null starts nothing"])
    if for_a_flow and not isinstance(state, dict):
        raise SettingsError(["--input must be a JSON object: a flow is started with inputs"])
    return state
