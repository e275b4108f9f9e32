"""Settings: read once at the edge, every fault reported at once, secrets never in a repr."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.proof import load_public_key

from .errors import SettingsError

__all__ = ["RETRY_DELAYS", "Settings"]

RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What the receiver needs to know. Durations are seconds unless the name says otherwise.

    `checkpoint_url` is the database the agents' checkpointer writes to; it is `database_url`
    when empty. `settle_seconds` is how long a superstep may stay unsettled before the process
    that ran it is taken for dead; `early_hours` how long a proof waits for its thread;
    `stall_seconds` how long a worker may be silent before its jobs are given to others;
    `retry_delays` are the waits after each time the graph raised, then the pause is parked.
    `reconcile_seconds` is the time between sweeps, 0 for none. `serializer` is the one the
    agents' checkpointer has, where it is not LangGraph's usual one.
    """

    database_url: str = field(repr=False)
    checkpoint_url: str = field(default="", repr=False)
    graphs: Mapping[str, Any] = field(default_factory=dict)
    signing_secrets: tuple[str, ...] = field(default=(), repr=False)
    public_keys: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    api_url: str | None = field(default=None, repr=False)
    max_body_bytes: int = 256 * 1024
    concurrency: int = 10
    settle_seconds: float = 300.0
    early_hours: float = 24.0
    drain_seconds: float = 25.0
    stall_seconds: float = 30.0
    reconcile_seconds: float = 60.0
    retry_delays: tuple[float, ...] = RETRY_DELAYS
    serializer: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise SettingsError(faults)

    @property
    def checkpoints_at(self) -> str:
        """The URL of the checkpointer's database."""
        return self.checkpoint_url or self.database_url

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Read the environment; `given` settings that are not None win over it.

        Raises `SettingsError` that lists every fault.
        """
        reader = _Reader(os.environ if env is None else env)
        values = reader.settings()
        values.update({name: value for name, value in given.items() if value is not None})
        if reader.faults:
            known = _faults_of_values(values)
            raise SettingsError([*reader.faults, *known])
        return cls(**values)

    @staticmethod
    def graphs_from(text: str) -> dict[str, str]:
        """Read `name=module:attribute`, several separated by commas. Raises `SettingsError`."""
        reader = _Reader({"--graph": text})
        graphs = reader.graphs("--graph")
        if reader.faults:
            raise SettingsError(reader.faults)
        return graphs

    @staticmethod
    def database_urls(
        database_url: str | None, checkpoint_url: str | None, env: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """Our database and the checkpointer's, all that migrating needs. Raises `SettingsError`."""
        values = _Reader(os.environ if env is None else env).settings()
        ours = database_url or values["database_url"]
        theirs = checkpoint_url or values["checkpoint_url"] or ours
        faults = [
            _database_fault("RESUMER_DATABASE_URL", ours),
            _database_fault("RESUMER_CHECKPOINT_URL", theirs) if theirs != ours else None,
        ]
        if found := [fault for fault in faults if fault]:
            raise SettingsError(found)
        return ours, theirs


@dataclass
class _Reader:
    """The environment, and what is wrong with it."""

    env: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        secrets = [self.text("LOOPPAUSE_SIGNING_SECRET"), *self.array("LOOPPAUSE_SIGNING_SECRETS")]
        values = {
            "database_url": self.text("RESUMER_DATABASE_URL") or self.text("DATABASE_URL"),
            "checkpoint_url": self.text("RESUMER_CHECKPOINT_URL"),
            "graphs": self.graphs("RESUMER_GRAPHS"),
            "signing_secrets": tuple(dict.fromkeys(filter(None, secrets))),
            "public_keys": self.array("LOOPPAUSE_PUBLIC_KEYS"),
            "api_key": self.text("LOOPPAUSE_API_KEY") or None,
            "api_url": self.text("LOOPPAUSE_API_URL") or None,
        }
        numbers: dict[str, Callable[[str], Any]] = {
            "max_body_bytes": _whole_number,
            "concurrency": _whole_number,
            "settle_seconds": _number,
            "early_hours": _number,
            "drain_seconds": _number,
            "stall_seconds": _number,
            "reconcile_seconds": _number,
            "retry_delays": _json_numbers,
        }
        for name, convert in numbers.items():
            variable = f"RESUMER_{name.upper()}"
            if text := self.text(variable):
                values[name] = self.convert(variable, text, convert)
        return {name: value for name, value in values.items() if value is not None}

    def text(self, variable: str) -> str:
        return self.env.get(variable, "").strip()

    def array(self, variable: str) -> tuple[str, ...]:
        text = self.text(variable)
        return self.convert(variable, text, _json_strings) or () if text else ()

    def graphs(self, variable: str) -> dict[str, str]:
        graphs: dict[str, str] = {}
        for pair in filter(None, map(str.strip, self.text(variable).split(","))):
            name, path = self.graph(variable, pair)
            if name in graphs:
                self.faults.append(f"{variable}: {name!r} stands twice: one graph for each agent")
            graphs[name] = path
        return graphs

    def graph(self, variable: str, pair: str) -> tuple[str, str]:
        name, path = map(str.strip, pair.split("=", 1)) if "=" in pair else ("*", pair)
        module, _, attribute = path.rpartition(":")
        if not (name and module and attribute):
            self.faults.append(f"{variable}: {pair!r} is not name=module:attribute")
        return name, path

    def convert(self, variable: str, text: str, convert: Callable[[str], T]) -> T | None:
        try:
            return convert(text)
        except ValueError as error:
            self.faults.append(f"{variable}: {error}")
            return None


def _json_strings(text: str) -> tuple[str, ...]:
    return _json_array(text, _is_text, 'strings, e.g. ["first","second"]')


def _json_numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, _json_array(text, _is_duration, "seconds, e.g. [1, 5, 30]")))


def _json_array(text: str, accepts: Callable[[Any], bool], of_what: str) -> tuple[Any, ...]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError:  # which holds the text, and that may be a secret
        values = None
    if not isinstance(values, list) or not all(map(accepts, values)):
        raise ValueError(f"must be a JSON array of {of_what}")
    return tuple(values)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number, e.g. 10") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number, e.g. 30") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def _faults_of_values(values: Mapping[str, Any]) -> Sequence[str]:
    try:
        Settings(**{"database_url": "", **values})
    except SettingsError as error:
        return error.faults
    return ()


def _faults(settings: Settings) -> Sequence[str]:
    return [
        fault
        for fault in (
            _database_fault("RESUMER_DATABASE_URL", settings.database_url),
            _database_fault("RESUMER_CHECKPOINT_URL", settings.checkpoints_at)
            if settings.checkpoint_url
            else None,
            _key_fault(settings),
            *map(_public_key_fault, settings.public_keys),
            _api_url_fault(settings.api_url),
            *_number_faults(settings),
        )
        if fault
    ]


def _database_fault(variable: str, url: str) -> str | None:
    if not url:
        return f"{variable} is missing: set it to postgresql://user:password@host:5432/database"
    if not url.startswith(("postgresql://", "postgres://")):
        return f"{variable} must start with postgresql://"
    if not _is_readable(url):
        return (
            f"{variable} cannot be read: in a user name or password, write @ as %40, / as %2F, "
            ": as %3A and % as %25"
        )
    return None


def _is_readable(url: str) -> bool:
    """Whether a connection would take it; half of a password as host or port would be shown."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return False
    ports = str(parts.get("port") or "").split(",")
    return "@" not in str(parts.get("host", ""))[1:] and all(p.isdecimal() for p in ports if p)


def _key_fault(settings: Settings) -> str | None:
    if not settings.signing_secrets and not settings.public_keys:
        return (
            "no key to verify proofs with: set LOOPPAUSE_SIGNING_SECRET (HMAC) "
            "or LOOPPAUSE_PUBLIC_KEYS (Ed25519, JSON array)"
        )
    if not all(secret.strip() for secret in settings.signing_secrets):
        return "LOOPPAUSE_SIGNING_SECRETS: a secret is blank, take it out"
    return None


def _public_key_fault(key: str) -> str | None:
    try:
        load_public_key(key)
    except LoopPauseConfigError as error:
        return f"LOOPPAUSE_PUBLIC_KEYS: {error}"
    return None


def _api_url_fault(url: str | None) -> str | None:
    try:
        parts = urlsplit(url or "https://api")
        is_usable = parts.scheme in ("http", "https") and parts.hostname is not None
    except ValueError:
        is_usable = False
    return None if is_usable else "LOOPPAUSE_API_URL must start with https:// and name a host"


def _number_faults(settings: Settings) -> list[str]:
    positive = {
        "RESUMER_MAX_BODY_BYTES": settings.max_body_bytes,
        "RESUMER_CONCURRENCY": settings.concurrency,
        "RESUMER_EARLY_HOURS": settings.early_hours,
        "RESUMER_STALL_SECONDS": settings.stall_seconds,
    }
    faults = [f"{n} must be a number above 0" for n, v in positive.items() if not 0 < v < math.inf]
    not_negative = {
        "RESUMER_SETTLE_SECONDS": settings.settle_seconds,
        "RESUMER_DRAIN_SECONDS": settings.drain_seconds,
        "RESUMER_RECONCILE_SECONDS": settings.reconcile_seconds,
    }
    return faults + [
        f"{n} must be a number, 0 or more" for n, v in not_negative.items() if not 0 <= v < math.inf
    ]
