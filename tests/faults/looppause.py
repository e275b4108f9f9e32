"""LoopPause under the harness' control: it decides, signs and delivers, or does not."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from looppause_sdk import LoopPauseClient
from looppause_sdk.testing import FakeLoopPause, sign_proof
from resumer.emulator import Emulator
from resumer.serving import serving

__all__ = ["Brain", "Delivered", "forgeries"]

SECRET = "attacked-secret-0123456789abcdef"
KEY = "attacked-key"
TAKEN_SECONDS = 60.0


@dataclass(frozen=True)
class Delivered:
    """One attempt to deliver: the receiver's status (None for no answer) and what it said."""

    status: int | None
    result: str = ""


@dataclass
class Brain:
    """Pauses, proofs and the wire to the web replicas."""

    fake: FakeLoopPause
    url: str
    http: httpx.AsyncClient
    seen: dict[int | None, int] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)

    def note(self, document: Mapping[str, Any]) -> None:
        """Remember which thread asked, as it asks; LoopPause calls this for every change."""
        pauses = self.asked.setdefault(thread_of(document), [])
        if document["pause_id"] not in pauses:
            pauses.append(document["pause_id"])

    @property
    def env(self) -> dict[str, str]:
        """What a replica needs to know of this LoopPause."""
        return {
            "LOOPPAUSE_API_KEY": KEY,
            "LOOPPAUSE_API_URL": self.url,
            "LOOPPAUSE_SIGNING_SECRET": SECRET,
        }

    def client(self) -> LoopPauseClient:
        """For agents in the harness' own process: no network."""
        return LoopPauseClient(
            KEY,
            signing_secret=SECRET,
            http_client=httpx.Client(transport=self.fake.transport),
            env={},
        )

    def pauses_of(self, thread_id: str) -> list[str]:
        """The pauses this thread has asked for, the oldest first."""
        return list(self.asked.get(thread_id, ()))

    async def post(self, address: str, proof: Any) -> Delivered:
        """Deliver once; a web replica that is away or dies is no error here."""
        body = proof if isinstance(proof, bytes) else json.dumps(proof).encode()
        headers = {"Content-Type": "application/json"}
        try:
            reply = await self.http.post(
                f"{address}/webhooks/looppause", content=body, headers=headers
            )
        except httpx.HTTPError:
            answer = Delivered(None)
        else:
            answer = Delivered(reply.status_code, reply.json().get("status", ""))
        self.seen[answer.status] = self.seen.get(answer.status, 0) + 1
        return answer

    async def insist(
        self, addresses: Sequence[str], proof: Mapping[str, Any], *, every: float = 0.3
    ) -> Delivered:
        """Deliver as LoopPause does: again and again, anywhere, until a 2xx."""
        async with asyncio.timeout(TAKEN_SECONDS):
            while True:
                answer = await self.post(random.choice(addresses), proof)
                if answer.status is not None and 200 <= answer.status < 300:
                    return answer
                await asyncio.sleep(every)


def thread_of(document: Mapping[str, Any]) -> str:
    """The thread that asked, which every agent here writes into its action."""
    return str(document["request"]["action"]["details"]["thread"])


def forgeries(pause_id: str, other: Mapping[str, Any], genuine: Mapping[str, Any]) -> list[Any]:
    """Messages about a pause that are no human approval of it, with what they must be answered.

    `other` is a genuine approval of another pause, `genuine` a genuine rejection of this one.
    """
    said = {
        "pause_id": pause_id,
        "status": "responded",
        "decision": "approved",
        "authorization_type": "human",
        "human_response": True,
        "responder": "mallory@example.com",
        "responded_at": "2026-11-22T10:00:00.000Z",
    }
    return [
        (401, sign_proof(said, secret="another-secret-0123456789abcdef00")),
        (401, {**said, "signature": "0" * 64}),
        (401, {**other, "pause_id": pause_id}),
        (401, {**genuine, "decision": "approved"}),
        (401, {**said, "canonical_payload": json.dumps(said), "signature": other["signature"]}),
        (401, {"pause_id": pause_id, "status": "expired"}),
        (401, said),
        (400, b"[" * 200_000),
        (400, b'{"pause_id": '),
    ]


@asynccontextmanager
async def brain() -> AsyncIterator[Brain]:
    """A LoopPause on a port of its own, which delivers nothing by itself."""
    fake = FakeLoopPause(secret=SECRET, api_key=KEY)
    emulator = Emulator(fake)
    async with (
        serving(emulator.app, lifespan="on") as url,
        httpx.AsyncClient(trust_env=False, timeout=15.0) as http,
    ):
        found = Brain(fake, url, http)
        fake.listeners.append(found.note)
        yield found
