"""What the settings say of the outgoing webhook, and what can be wrong with it."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

__all__ = ["HOOK_EVENTS", "hook_faults"]

HOOK_EVENTS = ("resumed", "parked", "failed")
SECRET_PREFIX = "whsec_"  # noqa: S105  (the prefix of one)
SHORTEST, LONGEST = 24, 64  # bytes, by Standard Webhooks

# Names that no public DNS has.
_PRIVATE_ENDS = (".internal", ".local", ".localhost", ".lan", ".svc", ".home.arpa", ".test")


def hook_faults(url: str | None, secrets: Sequence[str], events: Sequence[str]) -> Iterator[str]:
    """Why nothing could be sent, or not safely. The texts repeat neither secrets nor the URL."""
    if url is not None:
        yield from _url_faults(url)
        if not secrets:
            yield (
                "RESUMER_HOOK_SECRET is missing: RESUMER_HOOK_URL gets nothing unsigned. Make one "
                "with: python3 -c \"import base64, secrets; print('whsec_' + "
                'base64.b64encode(secrets.token_bytes(32)).decode())"'
            )
    elif secrets:
        yield "RESUMER_HOOK_SECRET is set and RESUMER_HOOK_URL is not: set both, or neither"
    if not all(map(_is_good, secrets)):
        yield (
            f"RESUMER_HOOK_SECRET: a secret is {SECRET_PREFIX} and the base64 of {SHORTEST} to "
            f"{LONGEST} bytes"
        )
    unknown = [event for event in events if event not in HOOK_EVENTS]
    if unknown or not events:
        yield f"RESUMER_HOOK_EVENTS: some of {', '.join(HOOK_EVENTS)}, separated by commas"


def _url_faults(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        yield "RESUMER_HOOK_URL must start with https:// and name a host"
    elif parts.scheme == "http" and not _is_private(parts):
        yield "RESUMER_HOOK_URL must start with https://: http is for private networks alone"


def _is_private(parts: SplitResult) -> bool:
    host = (parts.hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_ENDS)


def _is_good(secret: str) -> bool:
    if not secret.startswith(SECRET_PREFIX):
        return False
    text = secret.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return SHORTEST <= len(key) <= LONGEST
