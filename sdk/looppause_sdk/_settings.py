"""What a client is set up with: arguments first, the environment second, faults all at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .errors import LoopPauseConfigError
from .proof import load_public_key

__all__ = ["DEFAULT_BASE_URL", "Settings", "read_settings", "url_fault"]

DEFAULT_BASE_URL = "https://api.looppause.com"

PublicKey = str | Ed25519PublicKey


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


def read_settings(
    env: Mapping[str, str],
    *,
    api_key: str | None,
    signing_secret: str | None,
    signing_secrets: str | Iterable[str],
    public_keys: PublicKey | Iterable[PublicKey],
    base_url: str | None,
    request_timeout: float,
    max_attempts: int,
) -> Settings:
    """Return the settings, or raise one `LoopPauseConfigError` that names every fault.

    Secrets given as arguments replace those of the environment, and so do public keys: nobody
    trusts a key they did not name. An empty variable counts as one that is not set.
    """
    faults: list[str] = []
    settings = Settings(
        api_key=_api_key(api_key, env, faults),
        secrets=_secrets(signing_secret, signing_secrets, env, faults),
        public_keys=_public_keys(public_keys, env, faults),
        base_url=_base_url(base_url, env, faults),
        webhook_url=_webhook_url(env, faults),
        request_timeout=_positive("request_timeout", request_timeout, faults),
        max_attempts=_attempts(max_attempts, faults),
    )
    if not faults and not settings.secrets and not settings.public_keys:
        faults.append(
            "there is no key to verify proofs with: set LOOPPAUSE_SIGNING_SECRET or "
            "LOOPPAUSE_PUBLIC_KEYS, or pass signing_secret or public_keys"
        )
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
    listed = [given] if isinstance(given, (str, Ed25519PublicKey)) else list(given)
    named = [(f"public_keys[{place}]", key) for place, key in enumerate(listed)]
    if not named:
        named += _json_array("LOOPPAUSE_PUBLIC_KEYS", env, faults)
    keys = [_public_key(name, key, faults) for name, key in named]
    return tuple(key for key in keys if key)


def _public_key(name: str, key: object, faults: list[str]) -> Ed25519PublicKey | None:
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
