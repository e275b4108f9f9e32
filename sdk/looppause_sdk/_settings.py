"""What a client is set up with: arguments first, the environment second, faults all at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

import httpx

from .errors import LoopPauseConfigError
from .proof import load_public_key

if TYPE_CHECKING:
    from ._ed25519 import Ed25519PublicKey

__all__ = ["DEFAULT_BASE_URL", "Receiver", "Settings", "read_settings", "url_fault"]

DEFAULT_BASE_URL = "https://api.looppause.com"

WEBHOOK = "LOOPPAUSE_WEBHOOK_URL"
WEBHOOK_PATH = "/webhooks/looppause"

_PRIVATE_NAMES = (".internal", ".local", ".localhost", ".svc")

PublicKey: TypeAlias = "str | Ed25519PublicKey"


@dataclass(frozen=True)
class Receiver:
    """Where proofs can be waited for; the token is for nobody else."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """Checked settings. `request_timeout` is in seconds; the secrets stay out of the repr."""

    api_key: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    public_keys: tuple[Ed25519PublicKey, ...]
    base_url: str
    webhook_url: str | None
    request_timeout: float
    max_attempts: int
    receiver: Receiver | None = None


def read_settings(
    env: Mapping[str, str],
    known_faults: Sequence[str] = (),
    *,
    api_key: str | None,
    signing_secret: str | None,
    signing_secrets: str | Iterable[str],
    public_keys: PublicKey | Iterable[PublicKey],
    base_url: str | None,
    request_timeout: float,
    max_attempts: int,
    receiver_url: str | None = None,
    receiver_token: str | None = None,
) -> Settings:
    """Return the settings, or raise one `LoopPauseConfigError` that names every fault.

    Secrets given as arguments replace those of the environment, and so do public keys: nobody
    trusts a key they did not name. An empty variable counts as one that is not set.
    """
    faults = list(known_faults)
    key = _api_key(api_key, env, faults)
    before = len(faults)
    secrets = _secrets(signing_secret, signing_secrets, env, faults)
    keys = _public_keys(public_keys, env, faults)
    if not secrets and not keys and len(faults) == before and not known_faults:
        faults.append(
            "there is no key to verify proofs with: set LOOPPAUSE_SIGNING_SECRET or "
            "LOOPPAUSE_PUBLIC_KEYS, or pass signing_secret or public_keys"
        )
    settings = Settings(
        api_key=key,
        secrets=secrets,
        public_keys=keys,
        base_url=_base_url(base_url, env, faults),
        webhook_url=_webhook_url(env, faults),
        request_timeout=_positive("request_timeout", request_timeout, faults),
        max_attempts=_attempts(max_attempts, faults),
        receiver=_receiver(receiver_url, receiver_token, env, faults),
    )
    if settings.receiver and settings.receiver.token == settings.api_key:
        faults.append("the receiver's token must not be the API key: it would get to know it")
    if faults:
        raise LoopPauseConfigError("the LoopPause client cannot start: " + "; ".join(faults))
    return settings


def url_fault(text: object) -> str | None:
    """What is wrong with `text` as the address of a web service, or None."""
    try:
        url = httpx.URL(text)  # type: ignore[arg-type]  # whatever the caller gave is judged here
    except (httpx.InvalidURL, TypeError, ValueError):
        return "cannot be read as a URL"
    if url.scheme not in ("http", "https") or not url.host:
        return "must start with http:// or https:// and name a host"
    if "%" in url.host or (url.port or 0) > 65535:
        return "has a host or a port that cannot exist"
    return None


def _api_key(given: str | None, env: Mapping[str, str], faults: list[str]) -> str:
    key = env.get("LOOPPAUSE_API_KEY") if given is None else given
    name = "LOOPPAUSE_API_KEY" if given is None else "api_key"
    if not key:
        faults.append(f"{name} is missing: set LOOPPAUSE_API_KEY or pass api_key")
    elif fault := _credential_fault(key):
        faults.append(f"{name} {fault}")
    elif not key.isascii() or not key.isprintable():
        faults.append(f"{name} holds characters that an API key cannot have: copy it again")
    return key or ""


def _secrets(
    one: str | None, several: str | Iterable[str], env: Mapping[str, str], faults: list[str]
) -> tuple[str, ...]:
    named = [] if one is None else [("signing_secret", one)]
    listed = [several] if isinstance(several, str) else list(several)
    named += [(f"signing_secrets[{place}]", secret) for place, secret in enumerate(listed)]
    if not named:
        single = env.get("LOOPPAUSE_SIGNING_SECRET")
        named = [("LOOPPAUSE_SIGNING_SECRET", single)] if single else []
        named += _json_array("LOOPPAUSE_SIGNING_SECRETS", env, faults)
    for name, secret in named:
        if fault := _credential_fault(secret):
            faults.append(f"{name} {fault}")
    return tuple(dict.fromkeys(secret for _, secret in named))


def _public_keys(
    given: PublicKey | Iterable[PublicKey], env: Mapping[str, str], faults: list[str]
) -> tuple[Ed25519PublicKey, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        given = [given]
    named = [(f"public_keys[{place}]", key) for place, key in enumerate(given)]
    if not named:
        named += _json_array("LOOPPAUSE_PUBLIC_KEYS", env, faults)
    keys = [_public_key(name, key, faults) for name, key in named]
    return tuple(key for key in keys if key)


def _public_key(name: str, key: object, faults: list[str]) -> Ed25519PublicKey | None:
    from ._ed25519 import Ed25519PublicKey  # noqa: PLC0415 - loaded by who has such a key

    if isinstance(key, Ed25519PublicKey):
        return key
    try:
        if isinstance(key, str):
            return load_public_key(key.strip())
        faults.append(f"{name} must be a string or an Ed25519PublicKey")
    except LoopPauseConfigError as error:
        faults.append(f"{name}: {error}")
    return None


def _json_array(name: str, env: Mapping[str, str], faults: list[str]) -> list[tuple[str, str]]:
    text = env.get(name)
    if not text:
        return []
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        faults.append(f'{name} must be a JSON array of strings, such as ["first", "second"]')
        return []
    return [(f"{name}[{place}]", item) for place, item in enumerate(items)]


def _credential_fault(text: object) -> str | None:
    if not isinstance(text, str):
        return "must be a string"
    if not text.strip():
        return "is empty: give the value from your LoopPause account"
    if text != text.strip():
        return "has white space around it: remove it"
    try:
        text.encode()
    except UnicodeError:
        return "is not text: copy it again"
    return None


def _base_url(given: str | None, env: Mapping[str, str], faults: list[str]) -> str:
    name = "LOOPPAUSE_API_URL" if given is None else "base_url"
    url = (env.get("LOOPPAUSE_API_URL") or DEFAULT_BASE_URL) if given is None else given
    if fault := url_fault(url):
        faults.append(f"{name} {fault}, such as {DEFAULT_BASE_URL}")
        return ""
    parts = httpx.URL(url)
    if parts.userinfo or parts.query or parts.fragment:
        faults.append(f"{name} must not hold a user name, a query or a fragment")
    return url.rstrip("/")


def _webhook_url(env: Mapping[str, str], faults: list[str]) -> str | None:
    url = env.get("LOOPPAUSE_WEBHOOK_URL") or None
    if url is not None and (fault := url_fault(url)):
        faults.append(f"LOOPPAUSE_WEBHOOK_URL {fault}")
    return url


def _receiver(
    url: str | None, token: str | None, env: Mapping[str, str], faults: list[str]
) -> Receiver | None:
    given_token = env.get("LOOPPAUSE_RECEIVER_TOKEN") if token is None else token
    name, given_url = _receiver_url(url, env)
    if not given_token and (token is not None or not given_url or name == WEBHOOK):
        return None
    if not given_token:
        faults.append(f"{name} needs LOOPPAUSE_RECEIVER_TOKEN: one of its RESUMER_READ_TOKENS")
    elif fault := _token_fault(given_token):
        faults.append(f"LOOPPAUSE_RECEIVER_TOKEN (or receiver_token) {fault}")
    if not given_url:
        faults.append(
            "LOOPPAUSE_RECEIVER_TOKEN is set, but not where the receiver is: set "
            "LOOPPAUSE_RECEIVER_URL, or LOOPPAUSE_WEBHOOK_URL to its " + WEBHOOK_PATH
        )
    elif fault := _receiver_url_fault(given_url):
        faults.append(f"{name} {fault}")
    return Receiver((given_url or "").rstrip("/"), given_token or "")


def _receiver_url(url: str | None, env: Mapping[str, str]) -> tuple[str, str | None]:
    """The receiver's address and what named it; a webhook of its own gives it away."""
    if url is not None:
        return "receiver_url", url
    if named := env.get("LOOPPAUSE_RECEIVER_URL"):
        return "LOOPPAUSE_RECEIVER_URL", named
    webhook = env.get(WEBHOOK) or ""
    is_receivers = webhook.endswith(WEBHOOK_PATH)
    return WEBHOOK, webhook.removesuffix(WEBHOOK_PATH) if is_receivers else None


def _receiver_url_fault(url: str) -> str | None:
    if fault := url_fault(url):
        return f"{fault}, such as https://approvals.example.com"
    parts = httpx.URL(url)
    if parts.userinfo or parts.query or parts.fragment:
        return "must not hold a user name, a query or a fragment"
    if parts.scheme != "https" and not _is_inside(parts.host):
        return "must start with https://: outside a private network, others could read the token"
    return None


def _is_inside(host: str) -> bool:
    """Whether the name or address is one of a private network, such as another container."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)


def _token_fault(token: object) -> str | None:
    if fault := _credential_fault(token):
        return fault
    text = str(token)
    if text.isascii() and text.isprintable() and " " not in text:
        return None
    return "holds characters that a token cannot have: copy it again"


def _positive(name: str, seconds: object, faults: list[str]) -> float:
    if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        faults.append(f"{name} must be a number of seconds above 0")
        return 1.0
    return float(seconds)


def _attempts(count: object, faults: list[str]) -> int:
    if not isinstance(count, int) or count < 1:
        faults.append("max_attempts must be a whole number, 1 or more")
        return 1
    return count
