"""Odd answers and odd deliveries from the inbox's menu for testing, against a real receiver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from looppause_sdk.errors import ProofError
from looppause_sdk.proof import verify
from resumer.emulator import Emulator
from resumer.serving import serving

WAITING = ("fallback-approve", "fallback-reject", "time-out", "expire", "twice", "lost", "late")
ENDED = ("copies", "contradict", "forge")


@dataclass
class Receiver:
    """Verifies what comes in as a receiver does, and answers as one."""

    secret: str
    decisions: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/hook", self.hook, methods=["POST"])])

    async def hook(self, request: Request) -> JSONResponse:
        try:
            proof = verify(json.loads(await request.body()), secrets=self.secret)
        except ProofError:
            return JSONResponse({"error": "not genuine"}, 401)
        first = not self.decisions
        self.decisions.append(proof.decision)
        if first:
            return JSONResponse({"status": "accepted"}, 202)
        same = proof.decision == self.decisions[0]
        return JSONResponse({"status": "duplicate" if same else "conflict"})


@dataclass
class Desk:
    """The inbox's page of one pause, and the receiver that its proof goes to."""

    emulator: Emulator
    receiver: Receiver
    http: httpx.AsyncClient

    def ask(self, *, webhook: bool = True, **members: Any) -> str:
        request = {
            "agent_id": "payer",
            "action": {"type": "payment", "description": "Pay 5 €"},
            "recipients": [{"channel": "slack", "target": "#x"}],
            "webhook_url": self.receiver.url if webhook else None,
            **members,
        }
        pause_id: str = self.emulator.fake.create(request)["pause_id"]
        return pause_id

    async def try_out(self, pause_id: str, trial: str, **fields: str) -> httpx.Response:
        return await self.http.post(f"/pauses/{pause_id}/try", data={"trial": trial, **fields})

    async def offered(self, pause_id: str) -> list[str]:
        page = (await self.http.get(f"/pauses/{pause_id}")).text
        return [name for name in (*WAITING, *ENDED) if f'value="{name}"' in page]

    async def attempts(self, pause_id: str, count: int) -> list[dict[str, Any]]:
        """The deliveries, as soon as there are so many."""
        for _ in range(1000):
            tried = self.delivery(pause_id).get("attempts", [])
            if len(tried) >= count:
                return list(tried)
            await asyncio.sleep(0.01)
        pytest.fail(f"no {count} attempts within ten seconds")

    def delivery(self, pause_id: str) -> dict[str, Any]:
        noted: dict[str, Any] = self.emulator.fake.document(pause_id)["notes"].get("delivery", {})
        return noted


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """An emulator that delivers, and a receiver of its own."""
    async with Emulator().running() as emulator:
        receiver = Receiver(emulator.fake.secret)
        transport = httpx.ASGITransport(emulator.app)
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with (
            serving(receiver.app) as base,
            httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers=headers
            ) as http,
        ):
            receiver.url = f"{base}/hook"
            yield Desk(emulator, receiver, http)


# -- while it waits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trial, decision", [("fallback-approve", "approved"), ("fallback-reject", "rejected")]
)
async def test_a_default_answers_and_no_person(desk: Desk, trial: str, decision: str) -> None:
    """What a fallback signs is delivered, and says that no person did."""
    pause_id = desk.ask()
    await desk.try_out(pause_id, trial)
    (attempt,) = await desk.attempts(pause_id, 1)
    proof = verify(desk.emulator.fake.get(pause_id), secrets=desk.receiver.secret)
    assert (proof.decision, proof.human_authorized) == (decision, False)
    assert (attempt["status"], attempt["result"]) == (202, "accepted")


@pytest.mark.parametrize("trial, status", [("time-out", "timed_out"), ("expire", "expired")])
async def test_a_pause_ends_without_an_answer(desk: Desk, trial: str, status: str) -> None:
    """The signed notice is delivered at once."""
    pause_id = desk.ask()
    await desk.try_out(pause_id, trial)
    await desk.attempts(pause_id, 1)
    assert desk.receiver.decisions == [status]


async def test_two_copies_arrive_at_the_same_moment(desk: Desk) -> None:
    """One is accepted, the other a duplicate; both are on record."""
    pause_id = desk.ask()
    await desk.try_out(pause_id, "twice")
    attempts = await desk.attempts(pause_id, 2)
    assert sorted(attempt["result"] for attempt in attempts) == ["accepted", "duplicate"]
    assert desk.delivery(pause_id)["state"] == "delivered"


async def test_a_lost_delivery_is_never_sent(desk: Desk) -> None:
    """The answer stands, and only somebody who asks learns of it."""
    pause_id = desk.ask()
    await desk.try_out(pause_id, "lost")
    await asyncio.sleep(0.1)
    assert desk.delivery(pause_id)["state"] == "dropped"
    assert desk.receiver.decisions == []
    assert desk.emulator.fake.get(pause_id)["decision"] == "approved"


async def test_a_lost_delivery_can_be_sent_after_all(desk: Desk) -> None:
    """Sending again forgets what was planned for the first time."""
    pause_id = desk.ask()
    await desk.try_out(pause_id, "lost")
    await asyncio.sleep(0.1)
    await desk.http.post(f"/pauses/{pause_id}/redeliver")
    await desk.attempts(pause_id, 1)
    assert desk.receiver.decisions == ["approved"]


async def test_a_late_delivery_waits_so_many_seconds(desk: Desk) -> None:
    """It is held back, with the time it will be sent, and then sent."""
    pause_id = desk.ask()
    await desk.try_out(pause_id, "late", seconds="0.3")
    await asyncio.sleep(0.1)
    page = (await desk.http.get(f"/pauses/{pause_id}")).text
    assert "Held back on purpose" in page
    assert desk.receiver.decisions == []
    await desk.attempts(pause_id, 1)
    assert desk.receiver.decisions == ["approved"]


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "90000", "soon"])
async def test_an_unusable_delay_is_refused(desk: Desk, seconds: str) -> None:
    """The page says what it takes, and the pause still waits."""
    pause_id = desk.ask()
    reply = await desk.try_out(pause_id, "late", seconds=seconds)
    assert reply.status_code == 422
    assert "Seconds must be a number from 0 to 86400" in reply.text
    assert desk.emulator.fake.get(pause_id)["status"] == "pending"


async def test_a_trial_bears_the_name_of_who_sits_there(desk: Desk) -> None:
    """A person's approval by trial is signed with the name that the page remembers."""
    form = {"decision": "rejected", "responder": "ada@example.com"}
    await desk.http.post(f"/pauses/{desk.ask()}/decide", data=form)
    pause_id = desk.ask()
    await desk.try_out(pause_id, "twice")
    assert desk.emulator.fake.get(pause_id)["responder"] == "ada@example.com"


# -- when it has ended -----------------------------------------------------------------------


async def test_more_copies_are_duplicates(desk: Desk) -> None:
    """Two more of the same, and the delivery is what it was."""
    pause_id = desk.ask()
    desk.emulator.fake.decide(pause_id)
    await desk.attempts(pause_id, 1)
    await desk.try_out(pause_id, "copies")
    attempts = await desk.attempts(pause_id, 3)
    assert [attempt.get("result") for attempt in attempts] == ["accepted", "duplicate", "duplicate"]
    assert [attempt.get("what") for attempt in attempts] == [None, "copy", "copy"]
    assert desk.delivery(pause_id)["state"] == "delivered"


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_the_opposite_is_genuine_and_too_late(desk: Desk, decision: str) -> None:
    """The receiver calls it a conflict; the answer here stays."""
    pause_id = desk.ask()
    desk.emulator.fake.decide(pause_id, decision)
    await desk.attempts(pause_id, 1)
    await desk.try_out(pause_id, "contradict")
    attempts = await desk.attempts(pause_id, 2)
    assert attempts[1]["result"] == "conflict"
    assert desk.emulator.fake.get(pause_id)["decision"] == decision


async def test_a_forgery_is_refused(desk: Desk) -> None:
    """One changed character of the signature is not tried again."""
    pause_id = desk.ask()
    desk.emulator.fake.decide(pause_id)
    await desk.attempts(pause_id, 1)
    await desk.try_out(pause_id, "forge")
    attempts = await desk.attempts(pause_id, 2)
    assert (attempts[1]["status"], attempts[1]["what"]) == (401, "forgery")
    assert desk.delivery(pause_id)["next_attempt_at"] is None


# -- what is offered -------------------------------------------------------------------------


async def test_only_what_can_be_tried_is_offered(desk: Desk) -> None:
    """Deliveries need a webhook, a contradiction needs a decision."""
    waiting, polled = desk.ask(), desk.ask(webhook=False)
    assert await desk.offered(waiting) == list(WAITING)
    assert await desk.offered(polled) == list(WAITING[:4])
    desk.emulator.fake.decide(waiting)
    desk.emulator.fake.expire(polled)
    assert await desk.offered(waiting) == list(ENDED)
    assert await desk.offered(polled) == []
    expired = desk.ask()
    desk.emulator.fake.expire(expired)
    assert await desk.offered(expired) == ["copies", "forge"]


@pytest.mark.parametrize("trial", ["copies", "", "unheard-of"])
async def test_what_cannot_be_tried_is_refused(desk: Desk, trial: str) -> None:
    """A page that is out of date is told so, and nothing happens."""
    pause_id = desk.ask()
    reply = await desk.try_out(pause_id, trial)
    assert reply.status_code == 409
    assert "This cannot be tried with the pause as it is." in reply.text
    assert desk.emulator.fake.get(pause_id)["status"] == "pending"


async def test_another_site_cannot_try_anything(desk: Desk) -> None:
    """Only the page itself may."""
    pause_id = desk.ask()
    reply = await desk.http.post(
        f"/pauses/{pause_id}/try",
        data={"trial": "expire"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert reply.status_code == 403
    assert desk.emulator.fake.get(pause_id)["status"] == "pending"


# -- a receiver that has moved ---------------------------------------------------------------


async def test_a_proof_follows_a_receiver_that_has_moved() -> None:
    """It goes to where the receiver is now, and the page says so."""
    async with Emulator(deliver_to=lambda url: moved.get(url, url)).running() as emulator:
        receiver = Receiver(emulator.fake.secret)
        async with serving(receiver.app) as base:
            moved = {"http://127.0.0.1:9/hook": f"{base}/hook"}
            receiver.url = "http://127.0.0.1:9/hook"
            transport = httpx.ASGITransport(emulator.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                desk = Desk(emulator, receiver, http)
                pause_id = desk.ask()
                emulator.fake.decide(pause_id)
                (attempt,) = await desk.attempts(pause_id, 1)
                page = (await http.get(f"/pauses/{pause_id}")).text
    assert attempt["to"] == f"{base}/hook"
    assert receiver.decisions == ["approved"]
    assert f"The receiver has moved since: delivered to <code>{base}/hook" in page
