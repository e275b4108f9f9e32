"""`resumer emulator` while it runs: a local LoopPause by itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import typer

from resumer.emulator import Emulator
from resumer.serving import serving, stop_signals

__all__ = ["emulate"]


async def emulate(emulator: Emulator, host: str, port: int, *, made_up: Mapping[str, bool]) -> None:
    """Serve it until it is stopped, and print what an agent needs that was `made_up` here."""
    with stop_signals() as stop:
        async with (
            emulator.running(),
            serving(emulator.app, host, port, drain_seconds=3.0) as address,
        ):
            typer.echo(f"Inbox and API on {address}/ (Ctrl-C stops). For your agent, to paste:")
            for name, value in _settings(emulator, address, made_up).items():
                typer.echo(f"  export {name}={shlex.quote(value)}")
            await stop.wait()


def _settings(emulator: Emulator, address: str, made_up: Mapping[str, bool]) -> dict[str, str]:
    settings = {"LOOPPAUSE_API_URL": address}
    if made_up["key"]:
        settings["LOOPPAUSE_API_KEY"] = "anything"
    if emulator.fake.scheme == "ed25519":
        settings["LOOPPAUSE_PUBLIC_KEYS"] = json.dumps([emulator.fake.public_key])
    elif made_up["secret"]:
        settings["LOOPPAUSE_SIGNING_SECRET"] = emulator.fake.secret
    return settings
