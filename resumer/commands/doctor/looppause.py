"""LoopPause itself: does it answer, take our API key, and sign with a key we trust?"""

from __future__ import annotations

import httpx

from looppause_sdk import AsyncLoopPauseClient
from looppause_sdk.errors import (
    LoopPauseConfigError,
    LoopPauseRequestError,
    LoopPauseUnavailable,
)
from looppause_sdk.proof import key_id, load_public_key

from .finding import Finding, fail, ok, warn
from .subject import Subject

__all__ = ["check_api_key", "check_signing_key"]

API, SIGNER = "looppause", "looppause key"
NOBODYS_PAUSE = "pause_resumer_doctor"
DEFAULT_URL = "https://api.looppause.com"
WELL_KNOWN = "/.well-known/looppause-signing-key.json"


async def check_api_key(subject: Subject) -> Finding:
    """Ask for a pause that does not exist: 404 from whoever took the key."""
    if subject.api_key is None:
        return warn(
            API,
            "LOOPPAUSE_API_KEY is not set: lost webhooks and expiries are never found out",
            "set it, in the worker's environment too",
        )
    async with httpx.AsyncClient(timeout=subject.timeout) as http:
        try:
            await _client(subject, subject.api_key, http).get_pause(NOBODYS_PAUSE)
        except LoopPauseConfigError as error:
            return fail(API, str(error), "mend the setting it names")
        except LoopPauseUnavailable as error:
            mend = "see LOOPPAUSE_API_URL, the network and the proxy; else wait for LoopPause"
            return fail(API, f"no usable answer: {error}", mend)
        except LoopPauseRequestError as error:
            return _refusal(error)
    return ok(API, "it answers, and takes the API key")


async def check_signing_key(subject: Subject) -> Finding | None:
    """Whether the key LoopPause signs with now is among ours; None where no such key is pinned."""
    if not subject.public_keys:
        return None
    url = f"{(subject.api_url or DEFAULT_URL).rstrip('/')}{WELL_KNOWN}"
    try:
        async with httpx.AsyncClient(timeout=subject.timeout) as http:
            reply = await http.get(url)
        current = key_id(load_public_key(reply.json()["public_key"]))
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return warn(
            SIGNER,
            f"no key could be read at {url}",
            "compare LOOPPAUSE_PUBLIC_KEYS with your account by hand",
        )
    if current in {key_id(load_public_key(key)) for key in subject.public_keys}:
        return ok(SIGNER, f"LoopPause signs with {current}, which is trusted here")
    return fail(
        SIGNER,
        f"LoopPause signs with {current}, which is not among LOOPPAUSE_PUBLIC_KEYS",
        "ask LoopPause, not this address, whether it is theirs; then add it beside the old one. "
        "Until then what it signs is refused",
    )


def _client(subject: Subject, api_key: str, http: httpx.AsyncClient) -> AsyncLoopPauseClient:
    return AsyncLoopPauseClient(
        api_key,
        base_url=subject.api_url,
        # Nothing is verified here, and a missing key has a finding of its own.
        signing_secrets=subject.secrets or ("unused",),
        http_client=http,
        max_attempts=1,
        env={},
    )


def _refusal(error: LoopPauseRequestError) -> Finding:
    if error.status_code in (401, 403):
        found = f"it refuses the API key ({error.status_code})"
        return fail(API, found, "copy LOOPPAUSE_API_KEY again, or have a new one issued")
    if error.status_code == 404:
        return ok(API, "it answers, and takes the API key")
    mend = "see that LOOPPAUSE_API_URL is LoopPause's"
    return warn(API, f"an answer of its own kind: {error}", mend)
