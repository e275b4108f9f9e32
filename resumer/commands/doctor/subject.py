"""What `resumer doctor` looks at: the settings, as far as they can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.proof import load_public_key
from resumer.environment import EnvironmentReader
from resumer.errors import SettingsError
from resumer.model import utc_now
from resumer.settings import Settings

__all__ = ["Subject", "subject_from"]

DEFAULT_STALL_SECONDS = 30.0
SHORTEST_HIDDEN = 8


@dataclass(frozen=True)
class Subject:
    """One deployment, seen from where the doctor runs. `timeout` is seconds for each check.

    What the environment does not have, or has wrong, is empty here and among the `faults`.
    """

    env: Mapping[str, str] = field(repr=False)
    faults: tuple[str, ...] = ()
    database_url: str = field(default="", repr=False)
    checkpoint_url: str = field(default="", repr=False)
    graphs: Mapping[str, Any] = field(default_factory=dict)
    flows: Mapping[str, Any] = field(default_factory=dict)
    remote_key: str | None = field(default=None, repr=False)
    remote_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    remote_headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    public_keys: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    api_url: str | None = None
    stall_seconds: float = DEFAULT_STALL_SECONDS
    timeout: float = 5.0
    clock: Callable[[], datetime] = utc_now

    @property
    def webhook_url(self) -> str:
        """Where LoopPause is told to deliver, or nothing."""
        return self.env.get("LOOPPAUSE_WEBHOOK_URL", "").strip()

    @property
    def hidden(self) -> tuple[str, ...]:
        """Everything that must not be shown, the longest first.

        What is shorter is no secret worth the name, and would be hidden in the midst of words.
        """
        passwords = map(_password, (self.database_url, self.checkpoint_url))
        sent = (text for each in self.remote_headers.values() for text in each.values())
        remote = {self.remote_key, *self.remote_keys.values(), *sent}
        known = {*self.secrets, self.api_key, *passwords, *remote}
        return tuple(
            sorted(
                (text for text in known if text and len(text) >= SHORTEST_HIDDEN),
                key=len,
                reverse=True,
            )
        )


def subject_from(env: Mapping[str, str], *, timeout: float, **given: Any) -> Subject:
    """Read the settings; where some cannot be used, the others are looked at all the same.

    `given` are settings that win over the environment unless they are None.
    """
    values = EnvironmentReader(env).settings()
    values.update({name: value for name, value in given.items() if value is not None})
    ours, theirs = _database_urls(env, given.get("database_url"))
    return Subject(
        env=env,
        faults=_faults(env, given),
        database_url=ours,
        checkpoint_url=theirs,
        graphs=values["graphs"],
        flows=values["flows"],
        remote_key=values.get("remote_key"),
        remote_keys=values.get("remote_keys", {}),
        remote_headers=values.get("remote_headers", {}),
        secrets=tuple(filter(str.strip, values["signing_secrets"])),
        public_keys=tuple(filter(_is_public_key, values["public_keys"])),
        api_key=values.get("api_key"),
        api_url=values.get("api_url"),
        stall_seconds=values.get("stall_seconds", DEFAULT_STALL_SECONDS),
        timeout=timeout,
    )


def _faults(env: Mapping[str, str], given: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        Settings.from_env(env, **given)
    except SettingsError as error:
        return error.faults
    return ()


def _database_urls(env: Mapping[str, str], database_url: str | None) -> tuple[str, str]:
    try:
        return Settings.database_urls(database_url, None, env)
    except SettingsError:
        return "", ""


def _is_public_key(text: str) -> bool:
    try:
        load_public_key(text)
    except LoopPauseConfigError:
        return False
    return True


def _password(url: str) -> str | None:
    try:
        password = conninfo_to_dict(url).get("password") if url else None
    except psycopg.Error:
        return None
    return str(password) if password else None
