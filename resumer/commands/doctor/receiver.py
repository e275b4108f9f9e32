"""The receiver, from outside: does it answer, know our keys, and run?"""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from looppause_sdk.errors import ProofMalformed
from looppause_sdk.proof import key_id, verify
from looppause_sdk.testing import sign_proof
from resumer.commands.refusal import CommandRefused
from resumer.commands.target import target

from .finding import Finding, fail, ok, warn
from .subject import Subject

__all__ = ["check_receiver", "check_webhook"]

PATH = "/webhooks/looppause"
WEBHOOK, RECEIVER = "webhook", "receiver"
REACH = (
    "start `resumer serve` or `resumer web`; see that this address leads there, from here and from "
    "LoopPause"
)


async def check_webhook(subject: Subject, secret: str | None) -> Finding:
    """A signed round trip with no effect.

    What is sent is genuine, and no proof: it decides nothing. A receiver that has the key says
    so (400), one that has not refuses the signature (401); neither records anything.
    """
    url = subject.webhook_url
    if fault := _unusable(url):
        return fault
    try:
        async with httpx.AsyncClient(timeout=subject.timeout) as http:
            if secret is None:
                return await _forged_round_trip(http, url)
            return await _signed_round_trip(http, url, secret)
    except httpx.HTTPError as error:
        return fail(WEBHOOK, f"{url} does not answer: {_why(error)}", REACH)


async def check_receiver(subject: Subject) -> Finding:
    """Whether its lifespan was entered, its database answers, and a worker runs beside it."""
    base, suffix, rest = subject.webhook_url.partition(PATH)
    if not suffix or rest.strip("/"):
        return warn(
            RECEIVER,
            f"LOOPPAUSE_WEBHOOK_URL does not end in {PATH}: its readyz cannot be found",
            "ask for readyz yourself, where the receiver is mounted",
        )
    try:
        async with httpx.AsyncClient(timeout=subject.timeout) as http:
            return _readiness(await http.get(f"{base}/readyz"))
    except httpx.HTTPError as error:
        return fail(RECEIVER, f"{base}/readyz does not answer: {_why(error)}", REACH)


def _readiness(reply: httpx.Response) -> Finding:
    if reply.status_code == 200 and _member(reply, "status") == "ready":
        return ok(RECEIVER, "started, and ready")
    if reply.status_code == 503 and (reason := _member(reply, "error")):
        return fail(RECEIVER, f"not ready: {reason}", "do what it says; its log has more")
    return warn(
        RECEIVER,
        f"{reply.url} answers {reply.status_code}: not open to us, or another server's",
        "let /readyz through the proxy, or ask it from inside",
    )


def _unusable(url: str) -> Finding | None:
    if not url:
        return warn(
            WEBHOOK,
            "LOOPPAUSE_WEBHOOK_URL is not set: whether proofs arrive is not known",
            f"set it, here and for your agents, to where the receiver is reached: https://…{PATH}",
        )
    try:
        target(url, anywhere=False)
    except CommandRefused as error:
        reason = str(error).removeprefix("--url ").removesuffix(", or say --anywhere")
        return fail(WEBHOOK, f"LOOPPAUSE_WEBHOOK_URL: {reason}", f"set it to https://…{PATH}")
    return None


async def _signed_round_trip(http: httpx.AsyncClient, url: str, secret: str) -> Finding:
    signed = sign_proof({"pause_id": "pause_resumer_doctor", "question": "ping"}, secret=secret)
    body = json.dumps(signed).encode()
    reply = await http.post(url, content=body, headers=_HEADERS)
    key = f"key {key_id(secret)}"
    if reply.status_code == 400 and _decides_nothing(body, secret) in (
        _member(reply, "error") or ""
    ):
        return ok(WEBHOOK, f"a signed round trip was understood, {key} is known there")
    if reply.status_code == 401:
        found = f"the receiver does not know {key}: it refuses proofs signed with it"
        return fail(WEBHOOK, found, "give it the same signing secrets as here, and restart it")
    return _other_answer(reply)


async def _forged_round_trip(http: httpx.AsyncClient, url: str) -> Finding:
    """With public keys alone nothing can be signed: see at least that a forgery is refused."""
    forged = {
        "canonical_payload": json.dumps({"pause_id": "pause_resumer_doctor"}),
        "signature": base64.b64encode(bytes(64)).decode(),
    }
    reply = await http.post(url, json=forged, headers=_HEADERS)
    if reply.status_code == 401:
        return ok(
            WEBHOOK, "reached, and a forgery is refused (nothing can be signed with public keys)"
        )
    return _other_answer(reply)


def _other_answer(reply: httpx.Response) -> Finding:
    if reply.status_code == 503 and (reason := _member(reply, "error")):
        return fail(WEBHOOK, f"the receiver takes nothing: {reason}", "do what it says")
    found = f"it answers {reply.status_code}, which is none of a receiver's answers"
    return fail(WEBHOOK, found, f"see that the address ends in {PATH} after the right prefix")


def _decides_nothing(body: bytes, secret: str) -> str:
    """Why a receiver of this version cannot use `body`: in the words it answers with."""
    try:
        verify(body, secrets=[secret])
    except ProofMalformed as error:
        return str(error)
    raise RuntimeError("the doctor's question must never be a decision")


def _why(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _member(reply: httpx.Response, name: str) -> str | None:
    try:
        content: Any = reply.json()
    except ValueError:
        return None
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) else None


_HEADERS = {"Content-Type": "application/json", "User-Agent": "resumer-doctor"}
