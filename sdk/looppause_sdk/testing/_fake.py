"""The brain of a local LoopPause: pauses in, signed proofs out. No I/O, safe across threads.

Each pause is one JSON document. Documents are replaced, never changed in place, so that a
reader may keep one, and a store only has to notice `pauses[pause_id] = document`.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from looppause_sdk.errors import LoopPauseConfigError, LoopPauseRequestError
from looppause_sdk.proof import Scheme

from . import _http
from ._documents import (
    WAITING,
    Document,
    check_same_question,
    default_answer,
    due_at,
    iso,
    new_document,
    parse_iso,
    public,
    why_ended,
)
from ._requests import read_answer, read_idempotency_key, read_request
from ._signing import Signer
from ._transport import AsyncFakeTransport, FakeTransport

__all__ = ["FakeLoopPause"]


class FakeLoopPause:
    """A LoopPause that keeps its pauses in `pauses` and does what it is told.

    `scheme` says which key signs; both keys exist, are random unless given, and may be set
    later (`secret`, `private_key`, `scheme`) to act out a rotation. `api_key` is the bearer the
    HTTP side wants; None takes any that is not empty. `clock` returns the time, aware of its
    zone. Every call first applies what is due by then: an escalation's fallback, a timeout.

    `listeners` are called with the pause's document after each change of it, in the thread that
    made the change.
    """

    def __init__(
        self,
        *,
        scheme: Scheme = "hmac",
        secret: str | None = None,
        private_key: Ed25519PrivateKey | None = None,
        api_key: str | None = None,
        clock: Callable[[], datetime] | None = None,
        pauses: MutableMapping[str, Document] | None = None,
    ) -> None:
        if api_key == "":
            raise LoopPauseConfigError("the API key is empty: give one, or None to take any")
        self._signer = Signer.make(scheme, secret, private_key)
        self.api_key = api_key
        self.clock = clock or _utc_now
        self.pauses: MutableMapping[str, Document] = {} if pauses is None else pauses
        self.listeners: list[Callable[[Document], None]] = []
        self.faults: list[_http.Reply] = []
        self._lock = threading.RLock()
        self._by_key: dict[str, str] = {}
        self._due: list[tuple[datetime, str]] = []
        for document in self.pauses.values():
            self._index(document)

    # -- keys ------------------------------------------------------------------------------

    @property
    def scheme(self) -> Scheme:
        """Which key signs."""
        return self._signer.scheme

    @scheme.setter
    def scheme(self, scheme: Scheme) -> None:
        self._signer = Signer.make(scheme, self.secret, self.private_key)

    @property
    def secret(self) -> str:
        """The HMAC signing secret."""
        return self._signer.secret

    @secret.setter
    def secret(self, secret: str) -> None:
        self._signer = Signer.make(self.scheme, secret, self.private_key)

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """The Ed25519 signing key."""
        return self._signer.private_key

    @private_key.setter
    def private_key(self, private_key: Ed25519PrivateKey) -> None:
        self._signer = Signer.make(self.scheme, self.secret, private_key)

    @property
    def public_key(self) -> str:
        """Base64 of the DER Ed25519 key, as the well-known address serves it."""
        return self._signer.public_key

    def well_known(self) -> dict[str, str]:
        """What `GET /.well-known/looppause-signing-key.json` answers."""
        return {"algorithm": "Ed25519", "public_key": self.public_key}

    def sign(self, payload: Mapping[str, Any]) -> Document:
        """Sign any payload with the key of the scheme."""
        return self._signer.sign(payload)

    # -- asking ----------------------------------------------------------------------------

    def create(self, request: Mapping[str, Any], *, idempotency_key: str | None = None) -> Document:
        """Open a pause, or return the one this key already opened, as `get` shows it.

        Raises `LoopPauseRequestError`: 400 for a request that cannot be used, 422 where the key
        was used for another question (another `agent_id`, `action` or `form`). How the question
        travels (recipients, webhook, timeout) may differ: the pause stays as it was opened.
        """
        return self.open(request, idempotency_key)[0]

    def open(
        self, request: Mapping[str, Any], idempotency_key: str | None
    ) -> tuple[Document, bool]:
        """As `create`, and whether the pause is new."""
        asked, key = read_request(request), read_idempotency_key(idempotency_key)
        with self._lock:
            existing = self._find_key(key)
            if existing is not None:
                check_same_question(asked, existing["request"])
                return self.get(existing["pause_id"]), False
            document = new_document(asked, key, self.clock())
            self._index(document)
            self.pauses[document["pause_id"]] = document
        self._tell(document)
        return public(document), True

    def get(self, pause_id: str) -> Document:
        """What `GET /v1/pauses/{pause_id}` answers: its status, or the whole signed proof."""
        return public(self.document(pause_id))

    def document(self, pause_id: str) -> Document:
        """Everything kept about a pause: `request`, `status`, `proof`, times, notes."""
        self.tick()
        with self._lock:
            if pause_id not in self.pauses:
                raise LoopPauseRequestError(f"there is no pause {pause_id!r}", status_code=404)
            return self.pauses[pause_id]

    # -- answering -------------------------------------------------------------------------

    def decide(
        self,
        pause_id: str,
        decision: str = "approved",
        *,
        responder: str = "alice@example.com",
        comment: str | None = None,
        fields: Mapping[str, Any] | None = None,
        authorization_type: str = "human",
        channel: str | None = "web",
    ) -> Document:
        """Answer a pause and return the signed proof. The first decision stands.

        Raises `LoopPauseRequestError`: 400, 404, or 409 if the pause has ended.
        """
        answer = read_answer(decision, responder, comment, fields, authorization_type, channel)
        return self._end(pause_id, "responded", answer)

    def expire(self, pause_id: str) -> Document:
        """End a pause as `expired` and return the signed notice, which has no decision."""
        return self._end(pause_id, "expired", {})

    def time_out(self, pause_id: str) -> Document:
        """End a pause as `timed_out` and return the signed notice, which has no decision."""
        return self._end(pause_id, "timed_out", {})

    def tick(self) -> list[str]:
        """Apply what is due by the clock; return the ids of the pauses it changed."""
        if not self._due or self._due[0][0] > (now := self.clock()):
            return []
        changed = []
        while (pause_id := self._next_due(now)) is not None:
            if self._apply_due(pause_id, now):
                changed.append(pause_id)
        return changed

    def next_due(self) -> datetime | None:
        """When `tick` has something to do next; None while nothing waits."""
        with self._lock:
            return self._due[0][0] if self._due else None

    # -- beside the pauses -----------------------------------------------------------------

    def note(self, pause_id: str, **notes: Any) -> Document:
        """Keep JSON values in the `notes` of a pause's document (an emulator's deliveries)."""
        with self._lock:
            document = self.document(pause_id)
            document = {**document, "notes": {**document["notes"], **notes}}
            self.pauses[pause_id] = document
        self._tell(document)
        return document

    def documents(self) -> list[Document]:
        """The documents of all pauses, the newest first."""
        self.tick()
        with self._lock:
            return list(self.pauses.values())[::-1]

    # -- HTTP ------------------------------------------------------------------------------

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> _http.Reply:
        """Answer one HTTP request of LoopPause's API; never raises, whatever comes in."""
        with self._lock:
            fault = self.faults.pop(0) if self.faults else None
        return fault or _http.handle(self, method, path, headers, body)

    def fail_next(
        self, status: int = 503, *, times: int = 1, retry_after: float | None = None
    ) -> None:
        """Answer the next `times` HTTP requests with `status`; `retry_after` is in seconds."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self.faults += [_http.error(status, "told to fail by fail_next()", headers)] * times

    @property
    def transport(self) -> FakeTransport:
        """For `httpx.Client(transport=…)`: every request comes here."""
        return FakeTransport(self)

    @property
    def async_transport(self) -> AsyncFakeTransport:
        """For `httpx.AsyncClient(transport=…)`: every request comes here."""
        return AsyncFakeTransport(self)

    # -- inside ----------------------------------------------------------------------------

    def _find_key(self, key: str | None) -> Document | None:
        pause_id = None if key is None else self._by_key.get(key)
        return None if pause_id is None else self.pauses.get(pause_id)

    def _index(self, document: Document) -> None:
        if document["idempotency_key"] is not None:
            self._by_key[document["idempotency_key"]] = document["pause_id"]
        if document["status"] in WAITING:
            heapq.heappush(self._due, (due_at(document), document["pause_id"]))

    def _next_due(self, now: datetime) -> str | None:
        with self._lock:
            if self._due and self._due[0][0] <= now:
                return heapq.heappop(self._due)[1]
            return None

    def _apply_due(self, pause_id: str, now: datetime) -> bool:
        with self._lock:
            document = self.pauses.get(pause_id)
            if document is None or document["status"] not in WAITING:
                return False
            escalation = document["request"].get("escalation") or {}
            if parse_iso(document["expires_at"]) > now and escalation.get("escalate_to"):
                document = {**document, "escalated_at": iso(now)}
                self._index(document)
            else:
                document = self._ended(document, *default_answer(escalation))
            self.pauses[pause_id] = document
        self._tell(document)
        return True

    def _end(self, pause_id: str, status: str, answer: Mapping[str, Any]) -> Document:
        with self._lock:
            document = self.document(pause_id)
            if document["status"] not in WAITING:
                raise LoopPauseRequestError(why_ended(document), status_code=409)
            document = self.pauses[pause_id] = self._ended(document, status, answer)
        self._tell(document)
        proof: Document = document["proof"]
        return proof

    def _ended(self, document: Document, status: str, answer: Mapping[str, Any]) -> Document:
        now = iso(self.clock())
        when = "responded_at" if answer else "ended_at"
        payload = {"pause_id": document["pause_id"], "status": status, **answer, when: now}
        return {**document, "status": status, "ended_at": now, "proof": self.sign(payload)}

    def _tell(self, document: Document) -> None:
        for listener in list(self.listeners):
            listener(document)


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)
