"""Settings: read once at the edge, every fault reported at once, secrets never in a repr."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.proof import load_public_key

from .addresses import address_fault
from .environment import MOST_DAYS, EnvironmentReader
from .errors import SettingsError
from .graph_file import registered
from .hook_settings import HOOK_EVENTS, hook_faults
from .remote_settings import is_remote, remote_faults
from .tokens import Token, token_fault

__all__ = ["RETRY_DELAYS", "Settings"]

RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)


@dataclass(frozen=True)
class Settings:
    """What the receiver needs to know. Durations are seconds unless the name says otherwise.

    `checkpoint_url` is the database the agents' checkpointer writes to; it is `database_url`
    when empty. A graph on a LangGraph server is registered as `https://host#assistant`; with one
    server `remote_key` is its API key, with several `remote_keys` has them by `https://host`, and
    so has `remote_headers` what else a server is to be sent.
    `settle_seconds` is how long a superstep may stay unsettled before the process
    that ran it is taken for dead; `early_hours` how long a proof waits for its thread;
    `stall_seconds` how long a worker may be silent before its jobs are given to others;
    `retry_delays` are the waits after each time the graph raised, then the pause is parked.
    `reconcile_seconds` is the time between sweeps, 0 for none. `read_tokens` let clients wait for
    answers and operators look, `act_tokens` let operators act, too: nobody is let in without; an
    entry may be `name:token`, and of each token only a digest is kept. `metrics_public` shows
    `/metrics` to everybody. `hook_url` is told of the `hook_events`, signed with every one of the
    `hook_secrets`; `hash_responders` keeps names out of what hooks are told. `serializer` is the
    one the agents' checkpointer has, where it is not LangGraph's usual one. `checkpointer` is a
    saver of the host's over a pool, or `checkpoint_pool` a pool of its alone: used instead of one
    of our own, and never closed. Either may be a function, called when the receiver starts. What
    has ended is kept for `retention_days`, 0 for ever, and then written to files in the folder
    `audit_dir` before it is deleted; without a folder nothing is, unless
    `retention_without_export` says so. Deliveries are taken from `allowed_ips` alone, addresses
    and networks, where there are any; `trusted_proxies` are believed whom they forward for.
    """

    database_url: str = field(repr=False)
    checkpoint_url: str = field(default="", repr=False)
    graphs: Mapping[str, Any] = field(default_factory=dict)
    flows: Mapping[str, Any] = field(default_factory=dict)
    remote_key: str | None = field(default=None, repr=False)
    remote_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    remote_headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    signing_secrets: tuple[str, ...] = field(default=(), repr=False)
    public_keys: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    api_url: str | None = field(default=None, repr=False)
    read_tokens: Sequence[str | Token] = field(default=(), repr=False)
    act_tokens: Sequence[str | Token] = field(default=(), repr=False)
    metrics_public: bool = False
    hook_url: str | None = field(default=None, repr=False)
    hook_secrets: tuple[str, ...] = field(default=(), repr=False)
    hook_events: tuple[str, ...] = HOOK_EVENTS
    hash_responders: bool = False
    max_body_bytes: int = 256 * 1024
    concurrency: int = 10
    settle_seconds: float = 300.0
    early_hours: float = 24.0
    drain_seconds: float = 25.0
    stall_seconds: float = 30.0
    reconcile_seconds: float = 60.0
    retry_delays: tuple[float, ...] = RETRY_DELAYS
    retention_days: float = 90.0
    audit_dir: str | None = None
    retention_without_export: bool = False
    serializer: Any = field(default=None, repr=False)
    allowed_ips: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    checkpointer: Any = field(default=None, repr=False)
    checkpoint_pool: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        graphs, of_graphs = registered(self.graphs)
        object.__setattr__(self, "graphs", graphs)
        if faults := [*of_graphs, *_faults(self)]:
            raise SettingsError(faults)
        readers = tuple(Token.of(token) for token in self.read_tokens)
        object.__setattr__(self, "read_tokens", readers)
        actors = tuple(Token.of(token, "act") for token in self.act_tokens)
        object.__setattr__(self, "act_tokens", actors)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Every token that lets somebody in."""
        return tuple(map(Token.of, (*self.read_tokens, *self.act_tokens)))

    @property
    def local_graphs(self) -> dict[str, Any]:
        """The graphs that run in our workers."""
        return {name: spec for name, spec in self.graphs.items() if not is_remote(spec)}

    @property
    def remote_graphs(self) -> dict[str, str]:
        """The addresses of those that run on LangGraph servers."""
        return {name: spec for name, spec in self.graphs.items() if is_remote(spec)}

    @property
    def checkpoints_at(self) -> str:
        """The URL of the checkpointer's database."""
        return self.checkpoint_url or self.database_url

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Read the environment; `given` settings that are not None win over it.

        Raises `SettingsError` that lists every fault.
        """
        reader = EnvironmentReader(os.environ if env is None else env)
        values = reader.settings()
        values.update({name: value for name, value in given.items() if value is not None})
        if reader.faults:
            known = _faults_of_values(values)
            raise SettingsError([*reader.faults, *known])
        return cls(**values)

    @staticmethod
    def graphs_from(text: str, option: str = "--graph") -> dict[str, Any]:
        """Read `name=module:attribute` or paths of a langgraph.json, separated by commas.

        Raises `SettingsError`.
        """
        reader = EnvironmentReader({option: text})
        graphs = reader.graphs(option)
        if reader.faults:
            raise SettingsError(reader.faults)
        return graphs

    @staticmethod
    def database_urls(
        database_url: str | None, checkpoint_url: str | None, env: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """Our database and the checkpointer's, all that migrating needs. Raises `SettingsError`."""
        reader = EnvironmentReader(os.environ if env is None else env)
        values = reader.settings()
        ours = database_url or values["database_url"]
        theirs = checkpoint_url or values["checkpoint_url"] or ours
        faults = [
            *(fault for fault in reader.faults if fault.startswith(_DATABASES)),
            _database_fault("RESUMER_DATABASE_URL", ours),
            _database_fault("RESUMER_CHECKPOINT_URL", theirs) if theirs != ours else None,
        ]
        if found := [fault for fault in faults if fault]:
            raise SettingsError(found)
        return ours, theirs


_DATABASES = ("RESUMER_DATABASE_URL", "RESUMER_CHECKPOINT_URL", "DATABASE_URL")


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
            address_fault("RESUMER_ALLOWED_IPS", settings.allowed_ips),
            address_fault("RESUMER_TRUSTED_PROXIES", settings.trusted_proxies),
            token_fault("RESUMER_READ_TOKENS", settings.read_tokens),
            token_fault("RESUMER_ACT_TOKENS", settings.act_tokens),
            *remote_faults(
                settings.graphs,
                settings.flows,
                settings.remote_key,
                settings.remote_keys,
                settings.remote_headers,
            ),
            *hook_faults(settings.hook_url, settings.hook_secrets, settings.hook_events),
            *_number_faults(settings),
            None
            if 0 <= settings.retention_days <= MOST_DAYS
            else f"RESUMER_RETENTION_DAYS: must be a number of days, 0 to {MOST_DAYS}",
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
