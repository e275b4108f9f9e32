"""LoopPause's HTTP API over the brain: one request in, one `Reply` out."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from looppause_sdk._json import parse_object, plain
from looppause_sdk.errors import LoopPauseRequestError, ProofMalformed

if TYPE_CHECKING:
    from ._fake import FakeLoopPause

__all__ = ["MAX_BODY", "Reply", "error", "handle"]

MAX_BODY = 256 * 1024
WELL_KNOWN = "/.well-known/looppause-signing-key.json"


@dataclass(frozen=True)
class Reply:
    """What goes back over HTTP."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A refusal: `{"error": {"message": …}}`."""
    return _reply(status, {"error": {"message": message}}, headers)


def handle(
    fake: FakeLoopPause, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Reply:
    """Answer one request. `path` may carry a query, which means nothing here."""
    given = {name.lower(): value for name, value in headers.items()}
    path = path.partition("?")[0]
    try:
        return _route(fake, method.upper(), path, given, body)
    except LoopPauseRequestError as refusal:
        return error(refusal.status_code, str(refusal))


def _route(
    fake: FakeLoopPause, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Reply:
    if path == WELL_KNOWN:
        return _only("GET", method) or _reply(200, fake.well_known())
    if _PAUSES.fullmatch(path) is None:
        return error(404, f"there is nothing at {path}")
    _check_bearer(fake.api_key, headers.get("authorization", ""))
    if len(body) > MAX_BODY:
        return error(413, f"the body is over {MAX_BODY // 1024} KiB")
    if path == "/v1/pauses":
        return _only("POST", method) or _create(fake, headers, body)
    pause_id, _, verb = path.removeprefix("/v1/pauses/").partition("/")
    if not verb:
        return _only("GET", method) or _reply(200, fake.get(pause_id))
    return _only("POST", method) or _end(fake, pause_id, verb, body)


_PAUSES = re.compile("/v1/pauses(/[^/]+(/decision|/expire)?)?")


def _only(allowed: str, method: str) -> Reply | None:
    if method == allowed:
        return None
    return error(405, f"this address takes {allowed} only", {"Allow": allowed})


def _check_bearer(api_key: str | None, authorization: str) -> None:
    kind, _, token = authorization.partition(" ")
    token = token.strip() if kind.lower() == "bearer" else ""
    if not token:
        raise LoopPauseRequestError(
            "send the API key: `Authorization: Bearer <LOOPPAUSE_API_KEY>`", status_code=401
        )
    if api_key is not None and not hmac.compare_digest(token.encode(), api_key.encode()):
        raise LoopPauseRequestError("this API key is not known here", status_code=401)


def _create(fake: FakeLoopPause, headers: Mapping[str, str], body: bytes) -> Reply:
    pause, is_new = fake.open(_json(body), headers.get("idempotency-key"))
    return _reply(201 if is_new else 200, pause)


def _end(fake: FakeLoopPause, pause_id: str, verb: str, body: bytes) -> Reply:
    if verb == "expire":
        return _reply(200, fake.expire(pause_id))
    sent = _json(body)
    known = ("decision", "responder", "comment", "fields", "authorization_type", "channel")
    if "decision" not in sent or set(sent) - set(known):
        raise LoopPauseRequestError(
            f"send `decision`, and of the others only {', '.join(known[1:])}", status_code=400
        )
    return _reply(200, fake.decide(pause_id, **sent))


def _json(body: bytes) -> dict[str, Any]:
    try:
        sent: dict[str, Any] = plain(parse_object(body))
    except ProofMalformed as fault:
        detail = f": {fault}" if str(fault).startswith("not usable") else ""
        message = f"the body must be one JSON object{detail}"
        raise LoopPauseRequestError(message, status_code=400) from fault
    return sent


def _reply(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Reply:
    sent = {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})}
    return Reply(status, sent, json.dumps(content).encode())
