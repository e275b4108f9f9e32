"""The receiver a delivery is sent to: on this machine, or over TLS."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import httpx

from .refusal import CommandRefused

__all__ = ["DEFAULT_URL", "Target", "target"]

DEFAULT_URL = "http://127.0.0.1:8777/resumer/webhooks/looppause"  # where `resumer dev` listens


@dataclass(frozen=True)
class Target:
    """An address, and whether it is this machine."""

    url: str
    is_local: bool

    def client(self, *, timeout: float) -> httpx.Client:
        """Requests to this machine go to it, whatever proxy the environment names."""
        return httpx.Client(timeout=timeout, trust_env=not self.is_local)


def target(url: str, *, anywhere: bool) -> Target:
    """The target at `url`. Raises `CommandRefused` for what is no place to send a proof to."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise CommandRefused(f"--url cannot be read: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise CommandRefused("--url must start with http:// or https:// and name a host")
    if parts.userinfo:
        raise CommandRefused("--url must not hold a user name or a password")
    local = _is_local(parts.host)
    if parts.scheme == "http" and not local and not anywhere:
        raise CommandRefused(
            f"a signed proof would go to {parts.host} unencrypted: use https, or say --anywhere"
        )
    return Target(url, local)


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
