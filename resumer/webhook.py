"""The outgoing webhook: outcomes, signed by Standard Webhooks, until the receiver has them."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import standardwebhooks

from .db import Pool
from .hooks import HookEvent, hashed
from .metrics import Metrics
from .model import utc_now
from .telemetry import Seldom, get_logger

__all__ = ["Webhook"]

ATTEMPT_SECONDS = 10.0
DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)
GIVEN_UP_AFTER = timedelta(days=1)
GONE = 410  # by Standard Webhooks: nobody wants it there any more

log = get_logger()


@dataclass(frozen=True)
class _Problem:
    text: str
    is_final: bool = False


@dataclass(frozen=True)
class Webhook:
    """Where outcomes are sent, and the secrets that sign them: all sign, so that they can rotate.

    What is sent is a job of the queue from the moment in which the outcome is stored. It is sent
    again for a day until it is answered with 2xx; redirects are not followed.
    """

    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)
    events: Sequence[str]
    pool: Pool = field(repr=False)
    client: httpx.AsyncClient = field(repr=False)
    metrics: Metrics = field(default_factory=Metrics, repr=False)
    hash_responders: bool = False
    clock: Callable[[], datetime] = utc_now
    complaints: Seldom = field(default_factory=lambda: Seldom(log), repr=False)

    def job(self, event: HookEvent | None) -> dict[str, Any] | None:
        """The arguments of the job that sends it; None for what is not wanted.

        The queue logs them, so who decided is not among them, and is looked up on sending.
        """
        if event is None or event.event not in self.events:
            return None
        return {
            "message_id": f"msg_{uuid.uuid4().hex}",
            "event": event.event,
            "at": event.at.isoformat(),
            "facts": {
                "pause_id": event.pause_id,
                "decision": event.decision,
                "agent_id": event.agent_id,
                "thread_id": event.thread_id,
                "raised": event.raised,
                "reason_code": event.reason_code,
                "reason": event.reason,
                "retry_in": event.retry_in,
                "next_pauses": list(event.next_pauses),
            },
        }

    async def send(
        self, message_id: str, event: str, at: str, facts: Mapping[str, Any], *, attempts: int
    ) -> float | None:
        """Send it once; the seconds until the next time, or None if there is to be none.

        Raises what the database raises.
        """
        responder = await self._responder(facts["pause_id"])
        said = {**facts, "responder": responder}
        body = json.dumps({"type": f"pause.{event}", "timestamp": at, "data": said})
        problem = await self._post(message_id, body)
        if problem is None:
            self.metrics.hooked("webhook", "done")
            log.info("hook_sent", message_id=message_id, pause_id=facts["pause_id"], hook=event)
            return None
        delay = DELAYS[min(attempts, len(DELAYS) - 1)] * random.uniform(0.9, 1.1)
        age = self.clock() - datetime.fromisoformat(at)
        told = {"message_id": message_id, "pause_id": facts["pause_id"], "error": problem.text}
        if problem.is_final or age + timedelta(seconds=delay) > GIVEN_UP_AFTER:
            self.metrics.hooked("webhook", "dropped")
            self.complaints.warning("hook_dropped", **told)
            return None
        self.metrics.hooked("webhook", "failed")
        self.complaints.warning("hook_not_sent", **told, retry_in=round(delay, 1))
        return delay

    async def _responder(self, pause_id: str) -> str | None:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select responder from pauses where pause_id = %s", (pause_id,)
            )
            row = await cursor.fetchone()
        name: str | None = row["responder"] if row else None
        return hashed(name) if name and self.hash_responders else name or None

    async def _post(self, message_id: str, body: str) -> _Problem | None:
        """Post it; what went wrong, or None. Of the answer only the status is read."""
        headers = {"Content-Type": "application/json", **self._signed(message_id, body)}
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                request = self.client.build_request("POST", self.url, content=body, headers=headers)
                response = await self.client.send(request, stream=True, follow_redirects=False)
                await response.aclose()
        except TimeoutError:
            return _Problem(f"no answer in {ATTEMPT_SECONDS:g} seconds")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _Problem(repr(error)[:300])
        if response.is_success:
            return None
        status = response.status_code
        return _Problem(f"it answered {status}", is_final=status == GONE)

    def _signed(self, message_id: str, body: str) -> dict[str, str]:
        now = self.clock()
        signatures = [
            standardwebhooks.Webhook(secret).sign(message_id, now, body) for secret in self.secrets
        ]
        return {
            "Webhook-Id": message_id,
            "Webhook-Timestamp": str(int(now.timestamp())),
            "Webhook-Signature": " ".join(signatures),
        }
