"""Signed webhooks against a real receiver: delivered, retried, lost on purpose, restarted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from looppause_sdk.proof import verify
from resumer.emulator import Backoff, Emulator, open_emulator
from resumer.serving import serving

QUICK = Backoff(first=0.02, longest=0.05, attempts=5)


class Receiver:
    """Takes webhooks over HTTP; answers with `statuses` one after the other, then 202."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.content_types: list[str] = []
        self.statuses: list[int] = []
        self.app = Starlette(routes=[Route("/hook", self.hook, methods=["POST"])])
        self.url = ""

    async def hook(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.content_types.append(request.headers["content-type"])
        status = self.statuses.pop(0) if self.statuses else 202
        return PlainTextResponse("because", status, {"Location": "/hook"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    async with serving(receiver.app, lifespan="on") as base:
        receiver.url = f"{base}/hook"
        yield receiver


def ask(emulator: Emulator, url: str | None) -> str:
    """Open a pause whose proof goes to `url`."""
    request = {
        "agent_id": "payer",
        "action": {"type": "payment", "description": "Pay 5 €"},
        "recipients": [{"channel": "slack", "target": "#x"}],
        "webhook_url": url,
    }
    pause_id: str = emulator.fake.create(request)["pause_id"]
    return pause_id


def delivery_of(emulator: Emulator, pause_id: str) -> dict[str, Any]:
    """What the deliverer noted about a pause."""
    noted: dict[str, Any] = emulator.fake.document(pause_id)["notes"].get("delivery", {})
    return noted


async def until(check: Callable[[], bool]) -> None:
    """Wait until something holds, ten seconds at most."""
    for _ in range(2000):
        if check():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen within ten seconds")


async def reach(emulator: Emulator, pause_id: str, state: str) -> dict[str, Any]:
    """Wait for a delivery to get into a state, and return it."""
    await until(lambda: delivery_of(emulator, pause_id).get("state") == state)
    return delivery_of(emulator, pause_id)


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
async def test_a_decision_is_delivered_signed(receiver: Receiver, scheme: Any) -> None:
    """The webhook's body is the proof, genuine byte for byte, and the attempt is on record."""
    with open_emulator(scheme=scheme) as emulator:
        async with emulator.running():
            pause_id = ask(emulator, receiver.url)
            emulator.fake.decide(pause_id, comment="für Müller")
            delivery = await reach(emulator, pause_id, "delivered")
    keys = {"secrets": emulator.fake.secret, "public_keys": emulator.fake.public_key}
    assert verify(receiver.bodies[0], **keys).comment == "für Müller"
    assert receiver.content_types == ["application/json"]
    (attempt,) = delivery["attempts"]
    assert (attempt["status"], attempt["ms"] >= 0) == (202, True)
    assert delivery["next_attempt_at"] is None


@pytest.mark.parametrize("refusal", [503, 401, 301])
async def test_anything_but_a_2xx_is_tried_again(receiver: Receiver, refusal: int) -> None:
    """A failing receiver gets the same proof until it takes it; a redirect is not followed."""
    receiver.statuses = [refusal, refusal]
    async with Emulator(backoff=QUICK).running() as emulator:
        pause_id = ask(emulator, receiver.url)
        emulator.fake.decide(pause_id)
        delivery = await reach(emulator, pause_id, "delivered")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [refusal, refusal, 202]
    assert delivery["attempts"][0]["error"] == "because"
    assert len(set(receiver.bodies)) == 1


async def test_it_gives_up_after_so_many_attempts(receiver: Receiver) -> None:
    """A receiver that never takes it ends the retries, with all of them on record."""
    receiver.statuses = [500] * 99
    async with Emulator(backoff=QUICK).running() as emulator:
        pause_id = ask(emulator, receiver.url)
        emulator.fake.decide(pause_id)
        delivery = await reach(emulator, pause_id, "gave_up")
    assert len(delivery["attempts"]) == len(receiver.bodies) == QUICK.attempts


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "http://no.such.host.invalid/", "http://a..b/"]
)
async def test_an_unreachable_receiver_is_on_record(url: str) -> None:
    """No connection, no such name and no usable name are failures like any other."""
    async with Emulator(backoff=QUICK).running() as emulator:
        pause_id = ask(emulator, url)
        emulator.fake.decide(pause_id)
        delivery = await reach(emulator, pause_id, "gave_up")
    assert all("Error" in attempt["error"] for attempt in delivery["attempts"])


async def test_a_slow_receiver_is_cut_off() -> None:
    """An attempt lasts no longer than `delivery_timeout`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with Emulator(
            backoff=Backoff(attempts=1), delivery_timeout=0.1
        ).running() as emulator:
            pause_id = ask(emulator, url)
            emulator.fake.decide(pause_id)
            delivery = await reach(emulator, pause_id, "gave_up")
    assert "ReadTimeout" in delivery["attempts"][0]["error"]


async def test_without_a_webhook_nothing_is_delivered(receiver: Receiver) -> None:
    """A pause without `webhook_url` is polled for."""
    async with Emulator().running() as emulator:
        quiet, loud = ask(emulator, None), ask(emulator, receiver.url)
        emulator.fake.decide(quiet)
        emulator.fake.decide(loud)
        await reach(emulator, loud, "delivered")
        emulator.deliveries.redeliver(quiet)
        assert delivery_of(emulator, quiet) == {}


async def test_a_decision_from_another_thread_is_delivered(receiver: Receiver) -> None:
    """The brain may be told from any thread."""
    async with Emulator().running() as emulator:
        pause_id = ask(emulator, receiver.url)
        await asyncio.to_thread(emulator.fake.decide, pause_id)
        await reach(emulator, pause_id, "delivered")


@pytest.mark.parametrize("status", ["expired", "timed_out"])
async def test_a_pause_nobody_answered_delivers_a_signed_notice(
    receiver: Receiver, status: str
) -> None:
    """The notice has the status and no decision."""
    async with Emulator().running() as emulator:
        pause_id = ask(emulator, receiver.url)
        emulator.fake.expire(pause_id) if status == "expired" else emulator.fake.time_out(pause_id)
        await reach(emulator, pause_id, "delivered")
    assert verify(receiver.bodies[0], secrets=emulator.fake.secret).decision == status


async def test_notices_can_be_switched_off(receiver: Receiver) -> None:
    """Without notices only decisions are delivered."""
    async with Emulator(notices=False).running() as emulator:
        silent, decided = ask(emulator, receiver.url), ask(emulator, receiver.url)
        emulator.fake.time_out(silent)
        emulator.fake.decide(decided)
        await reach(emulator, decided, "delivered")
        assert delivery_of(emulator, silent) == {}
    assert len(receiver.bodies) == 1


async def test_dropped_deliveries_are_never_sent(receiver: Receiver) -> None:
    """Switched off, the proof is lost for good; switched on again, later ones arrive."""
    async with Emulator(deliver=False).running() as emulator:
        lost, arrives = ask(emulator, receiver.url), ask(emulator, receiver.url)
        emulator.fake.decide(lost)
        await reach(emulator, lost, "dropped")
        emulator.deliveries.deliver = True
        emulator.fake.decide(arrives)
        await reach(emulator, arrives, "delivered")
    assert [verify(body, secrets=emulator.fake.secret).pause_id for body in receiver.bodies] == [
        arrives
    ]


async def test_a_share_of_deliveries_can_be_dropped(receiver: Receiver) -> None:
    """Of two hundred deliveries at a rate of one half, some arrive and some do not."""
    async with Emulator(drop_rate=0.5).running() as emulator:
        pauses = [ask(emulator, receiver.url) for _ in range(200)]
        for pause_id in pauses:
            emulator.fake.decide(pause_id)
        ended = ("delivered", "dropped")
        await until(lambda: all(delivery_of(emulator, p).get("state") in ended for p in pauses))
    assert 0 < len(receiver.bodies) < 200


async def test_a_proof_can_be_sent_again(receiver: Receiver) -> None:
    """A second copy of a delivered proof is the same proof."""
    async with Emulator().running() as emulator:
        pause_id = ask(emulator, receiver.url)
        emulator.deliveries.redeliver(pause_id)
        emulator.fake.decide(pause_id)
        await reach(emulator, pause_id, "delivered")
        emulator.deliveries.redeliver(pause_id)
        await until(lambda: len(delivery_of(emulator, pause_id)["attempts"]) == 2)
    assert receiver.bodies[0] == receiver.bodies[1]


async def test_a_delivery_that_waits_can_be_sent_at_once(receiver: Receiver) -> None:
    """Sending again does not wait for the backoff, and takes its place."""
    receiver.statuses = [500]
    async with Emulator(backoff=Backoff(first=600, longest=600)).running() as emulator:
        pause_id = ask(emulator, receiver.url)
        emulator.fake.decide(pause_id)
        await until(lambda: bool(delivery_of(emulator, pause_id).get("next_attempt_at")))
        emulator.deliveries.redeliver(pause_id)
        await reach(emulator, pause_id, "delivered")
    assert len(receiver.bodies) == 2


async def test_an_unfinished_delivery_goes_on_after_a_restart(
    receiver: Receiver, tmp_path: Path
) -> None:
    """With a file, a proof the receiver refused before the stop is delivered after it."""
    receiver.statuses = [503]
    backoff = Backoff(first=0.5)
    with open_emulator(file=tmp_path / "f", backoff=backoff) as first:
        async with first.running():
            pause_id = ask(first, receiver.url)
            proof = first.fake.decide(pause_id)
            await until(lambda: bool(delivery_of(first, pause_id).get("next_attempt_at")))
    with open_emulator(file=tmp_path / "f", backoff=backoff) as second:
        async with second.running():
            delivery = await reach(second, pause_id, "delivered")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [503, 202]
    assert verify(receiver.bodies[1], secrets=second.fake.secret).raw == proof


async def test_a_decision_made_while_nothing_ran_is_delivered_at_the_start(
    receiver: Receiver,
) -> None:
    """What was decided before the deliverer runs is not forgotten."""
    emulator = Emulator()
    pause_id = ask(emulator, receiver.url)
    emulator.fake.decide(pause_id)
    async with emulator.running():
        await reach(emulator, pause_id, "delivered")


@pytest.mark.parametrize(
    "failed, shortest, longest",
    [(1, 0.8, 1.2), (2, 1.6, 2.4), (5, 12.8, 19.2), (10, 240, 360), (10_000, 240, 360)],
)
def test_the_backoff_doubles_with_jitter_up_to_its_bound(
    failed: int, shortest: float, longest: float
) -> None:
    """The first retry comes after about a second, none later than about five minutes."""
    assert Backoff().delay(failed, 0.0) == pytest.approx(shortest)
    assert Backoff().delay(failed, 1.0) == pytest.approx(longest)
