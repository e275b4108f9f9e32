"""`resumer emulator` while it runs: a local LoopPause by itself."""

from __future__ import annotations

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
            typer.echo(f"Inbox and API on {address}/ (Ctrl-C stops). For your agent:")
            typer.echo(f"  LOOPPAUSE_API_URL={address}")
            if made_up["key"]:
                typer.echo("  LOOPPAUSE_API_KEY=anything")
            if emulator.fake.scheme == "ed25519":
                typer.echo(f"  LOOPPAUSE_PUBLIC_KEYS='[\"{emulator.fake.public_key}\"]'")
            elif made_up["secret"]:
                typer.echo(f"  LOOPPAUSE_SIGNING_SECRET={emulator.fake.secret}")
            await stop.wait()
