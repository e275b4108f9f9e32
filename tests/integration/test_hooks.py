"""Hooks: a team's own code is told of outcomes, and no resume ever depends on it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from resumer import Resumer
from resumer.hooks import Callbacks, HookEvent, hashed
from resumer.metrics import Metrics
from resumer.serving import serving
from tests import agents
from tests.integration.conftest import Rig, until

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZWFtLW9mLXRoZS1ob29r"
OTHER = "whsec_" + "YW5vdGhlci1zZWNyZXQtdGhhdC1zaWducy10b28="
ADA = "ada@example.com"


def event(kind: Any = "resumed", **more: Any) -> HookEvent:
    usual: dict[str, Any] = {
        "at": datetime.now(UTC),
        "pause_id": "p",
        "decision": "approved",
        "agent_id": "a",
        "thread_id": "t",
        "raised": 0,
    }
    return HookEvent(kind, **{**usual, **more})


async def decided(rig: Rig, resumer: Resumer, graph: Any = None, **answer: Any) -> str:
    """One thread, asked and answered."""
    [pause_id] = await rig.hibernate(graph or rig.agent(), "t1")
    proof = rig.looppause.decide(pause_id, **{"responder": ADA, **answer})
    assert (await rig.deliver(resumer, proof)).status_code == 202
    return pause_id


async def came(events: list[Any], number: int = 1) -> list[Any]:
    """Wait for so many of them."""

    async def enough() -> bool:
        return len(events) >= number

    await until(enough)
    return events


def failing(rig: Rig) -> Any:
    def pay(_: Any) -> dict[str, Any]:
        raise RuntimeError("no money")

    return agents.payment_agent(rig.client(), pay)


# -- callbacks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_callback_is_told_of_a_resume(rig: Rig, *, is_async: bool) -> None:
    """Synchronous or not, it gets the facts, once, after they are stored."""
    events: list[HookEvent] = []

    async def later(event: HookEvent) -> None:
        events.append(event)

    resumer = await rig.receiver(on_resumed=later if is_async else events.append)
    pause_id = await decided(rig, resumer, comment="a private comment")
    [told] = await came(events)

    assert (told.event, told.pause_id, told.agent_id) == ("resumed", pause_id, "procurement")
    assert (told.thread_id, told.decision, told.responder) == ("t1", "approved", ADA)
    assert (told.raised, told.reason_code, told.next_pauses) == (0, None, ())
    record = await rig.pause(pause_id)
    assert record is not None
    assert record["state"] == "resumed"


async def test_what_a_callback_gets_cannot_be_changed_and_shows_nobody(rig: Rig) -> None:
    """The event is frozen; neither signature nor comment is in it, and no name in its repr."""
    events: list[HookEvent] = []
    resumer = await rig.receiver(on_resumed=events.append)
    await decided(rig, resumer, comment="a private comment", fields={"cost": "private"})
    [told] = await came(events)
    with pytest.raises(FrozenInstanceError):
        told.reason = "mine"
    assert "private" not in str(vars(told))
    assert ADA not in repr(told)


async def test_raising_and_parking_are_told_apart(rig: Rig) -> None:
    """Each time that the graph raised is told, then that a person has to act."""
    failed: list[HookEvent] = []
    parked: list[HookEvent] = []
    graph = failing(rig)
    resumer = await rig.receiver(
        {"procurement": graph}, on_failed=failed.append, on_parked=parked.append
    )
    await decided(rig, resumer, graph)
    [told] = await came(parked)

    assert [event.raised for event in failed] == [1, 2]
    assert all(event.retry_in is not None and event.retry_in > 0 for event in failed)
    assert (told.reason_code, told.raised, told.retry_in) == ("raised", 3, None)
    assert told.reason is not None
    assert "no money" in told.reason


def _raise(_: HookEvent) -> None:
    raise ValueError("a fault in the hook")


def _hang(_: HookEvent) -> None:
    time.sleep(0.5)


async def _raise_later(_: HookEvent) -> None:
    raise ValueError("a fault in the hook")


async def _refuse_to_end(_: HookEvent) -> None:
    for _time in range(5):
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            continue


async def _cancel_itself(_: HookEvent) -> None:
    raise asyncio.CancelledError


def _exit(_: HookEvent) -> None:
    raise SystemExit(3)


async def _exit_later(_: HookEvent) -> None:
    raise SystemExit(3)


BAD = [_raise, _hang, _raise_later, _refuse_to_end, _cancel_itself, _exit, _exit_later]


@pytest.mark.parametrize("bad", BAD, ids=lambda call: call.__name__)
async def test_a_bad_callback_is_counted_and_of_no_consequence(
    bad: Callable[[HookEvent], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it does, it is given up in its time, logged once a minute, and others are called."""
    good: list[HookEvent] = []
    with caplog.at_level(logging.WARNING, "resumer"):
        metrics = Metrics()
        callbacks = Callbacks({"resumed": bad, "parked": good.append}, metrics=metrics, seconds=0.1)
        async with callbacks.running():
            for _ in range(3):
                callbacks.tell(event())
            callbacks.tell(event("parked"))
            await came(good)
            await until(lambda: _counted(metrics, "failed", 3))
    logged = [record for record in caplog.records if _event_of(record) == "hook_failed"]
    assert len(logged) == 1
    await asyncio.sleep(0.5 if bad in (_hang, _refuse_to_end) else 0)


async def _counted(metrics: Metrics, result: str, number: int) -> bool:
    value = metrics.registry.get_sample_value(
        "resumer_hooks_total", {"hook": "callback", "result": result}
    )
    return bool(value == number)


def _event_of(record: logging.LogRecord) -> Any:
    return record.msg.get("event") if isinstance(record.msg, dict) else None


async def test_a_hanging_callback_holds_up_no_resume(rig: Rig) -> None:
    """The thread is resumed, and so is the next one, while the hook of the first hangs."""
    let_go = threading.Event()
    resumer = await rig.receiver(on_resumed=lambda _: let_go.wait(5))
    try:
        first = await decided(rig, resumer)
        await rig.until_state(first, "resumed")
        [second] = await rig.hibernate(rig.agent(), "t2")
        await rig.deliver(resumer, rig.looppause.decide(second))
        await rig.until_state(second, "resumed")
    finally:
        let_go.set()
    assert len(rig.ledger.payments) == 2


async def test_calls_that_do_not_end_are_not_piled_up() -> None:
    """With too many under way the next ones are dropped, and taken again once some have ended."""
    let_go = threading.Event()
    metrics = Metrics()
    callbacks = Callbacks({"resumed": lambda _: let_go.wait(5)}, metrics=metrics, seconds=0.05)
    async with callbacks.running():
        for _ in range(20):
            callbacks.tell(event())
        await until(lambda: _counted(metrics, "failed", 16))
        callbacks.tell(event())
        assert await _counted(metrics, "dropped", 5)
        let_go.set()
        await until(lambda: _has_room(callbacks))
        callbacks.tell(event())
        await until(lambda: _counted(metrics, "done", 1))


async def _has_room(callbacks: Callbacks) -> bool:
    return callbacks._threads == 0


async def test_what_has_begun_ends_before_the_receiver_does() -> None:
    """Stopping waits for a callback under way."""
    ended: list[str] = []

    async def slow(_: HookEvent) -> None:
        await asyncio.sleep(0.2)
        ended.append("yes")

    callbacks = Callbacks({"resumed": slow})
    async with callbacks.running():
        callbacks.tell(event())
    assert ended == ["yes"]


async def test_hashed_responders_in_callbacks(rig: Rig) -> None:
    """With the setting, a name that stays the same stands for who decided."""
    events: list[HookEvent] = []
    resumer = await rig.receiver(on_resumed=events.append, hash_responders=True)
    await decided(rig, resumer)
    [told] = await came(events)
    assert told.responder == hashed(ADA)
    assert hashed(ADA).startswith("person-")
    assert "ada" not in hashed(ADA)


# -- the webhook ---------------------------------------------------------------------------------


@dataclass
class Team:
    """A receiver of the webhook: what came, and what it answers, one after another."""

    statuses: list[int] = field(default_factory=list)
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    silent_seconds: float = 0.0
    url: str = ""

    async def take(self, request: Request) -> Response:
        self.calls.append((dict(request.headers), await request.body()))
        await asyncio.sleep(self.silent_seconds)
        status = self.statuses.pop(0) if self.statuses else 204
        headers = {"Location": self.url + "/elsewhere"} if status == 307 else {}
        return Response(status_code=status, headers=headers)

    def said(self, number: int = 0) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.calls[number][1])
        return said


@asynccontextmanager
async def listening(team: Team) -> AsyncIterator[Team]:
    app = Starlette(routes=[Route("/{any:path}", team.take, methods=["POST"])])
    async with serving(app) as address:
        team.url = f"{address}/hooks"
        yield team


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    async with listening(Team()) as made:
        yield made


def hooked(team: Team, **more: Any) -> dict[str, Any]:
    return {"hook_url": team.url, "hook_secrets": (SECRET,), **more}


async def test_the_published_library_verifies_what_is_sent(rig: Rig, team: Team) -> None:
    """Signed by Standard Webhooks; the facts are in it, the proof's secrets are not."""
    resumer = await rig.receiver(**hooked(team))
    pause_id = await decided(rig, resumer, comment="a private comment")
    await came(team.calls)
    headers, body = team.calls[0]

    said = standardwebhooks.Webhook(SECRET).verify(body, headers)
    assert said["type"] == "pause.resumed"
    assert said["data"] == {
        "pause_id": pause_id,
        "decision": "approved",
        "agent_id": "procurement",
        "thread_id": "t1",
        "raised": 0,
        "reason_code": None,
        "reason": None,
        "retry_in": None,
        "next_pauses": [],
        "responder": ADA,
    }
    assert datetime.fromisoformat(said["timestamp"]) <= datetime.now(UTC)
    assert b"private" not in body
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(body, headers)


async def test_every_secret_signs(rig: Rig, team: Team) -> None:
    """While secrets rotate, a receiver with either of them can verify."""
    resumer = await rig.receiver(**hooked(team, hook_secrets=(SECRET, OTHER)))
    await decided(rig, resumer)
    await came(team.calls)
    headers, body = team.calls[0]
    for secret in (SECRET, OTHER):
        assert standardwebhooks.Webhook(secret).verify(body, headers)["type"] == "pause.resumed"


async def test_only_the_events_that_are_wanted(rig: Rig, team: Team) -> None:
    """A team that wants to know what is parked hears of nothing else."""
    graph = failing(rig)
    resumer = await rig.receiver(
        {"procurement": graph}, **hooked(team, hook_events=("parked",), hash_responders=True)
    )
    await decided(rig, resumer, graph)
    await came(team.calls)
    await until(lambda: _no_jobs(rig))
    assert [team.said(n)["type"] for n in range(len(team.calls))] == ["pause.parked"]
    assert team.said()["data"]["reason_code"] == "raised"
    assert team.said()["data"]["responder"] == hashed(ADA)


async def _no_jobs(rig: Rig) -> bool:
    return not await _jobs(rig)


async def _jobs(rig: Rig) -> list[dict[str, Any]]:
    return await rig.rows("select * from procrastinate_jobs where task_name = 'hook'")


@pytest.mark.parametrize("status", [500, 404, 307])
async def test_it_is_sent_again_with_the_same_id(
    rig: Rig, team: Team, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is no 2xx is no receipt, a redirect neither; each attempt is signed anew."""
    monkeypatch.setattr("resumer.webhook.DELAYS", (0.05,))
    team.statuses = [status, status]
    resumer = await rig.receiver(**hooked(team))
    pause_id = await decided(rig, resumer)
    await came(team.calls, 3)
    await until(lambda: _no_jobs(rig))

    assert len({headers["webhook-id"] for headers, _ in team.calls}) == 1
    for headers, body in team.calls:
        assert standardwebhooks.Webhook(SECRET).verify(body, headers)
    record = await rig.pause(pause_id)
    assert record is not None
    assert record["attempts"] == 0


async def test_who_wants_nothing_more_gets_nothing_more(rig: Rig, team: Team) -> None:
    """410 ends it, with a line in the log."""
    team.statuses = [410]
    resumer = await rig.receiver(**hooked(team))
    await decided(rig, resumer)
    await came(team.calls)
    await until(lambda: _no_jobs(rig))
    assert len(team.calls) == 1


async def test_after_a_day_it_is_dropped(
    rig: Rig, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody took for a day is sent a last time, given up, and logged."""
    team.statuses = [500, 500]
    resumer = await rig.receiver(**hooked(team))
    with caplog.at_level(logging.INFO, "resumer"):
        await decided(rig, resumer)
        await came(team.calls)
        await until(lambda: _waits_again(rig))
        day_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        await rig.rows(
            "update procrastinate_jobs set scheduled_at = null,"
            " args = args || jsonb_build_object('at', %s::text) where task_name = 'hook'",
            day_ago,
        )
        await until(lambda: _no_jobs(rig))
    events = [_event_of(record) for record in caplog.records]
    assert "hook_not_sent" in events
    assert "hook_dropped" in events
    assert len(team.calls) == 2


async def _waits_again(rig: Rig) -> bool:
    return [job["status"] for job in await _jobs(rig)] == ["todo"]


async def test_what_could_not_be_sent_outlives_the_process(rig: Rig, team: Team) -> None:
    """It is stored together with the outcome: the next worker sends it, whoever asked for it."""
    nowhere: dict[str, Any] = {"hook_url": "http://127.0.0.1:9/", "hook_secrets": (SECRET,)}
    first = Resumer(
        {"procurement": rig.agent()},
        database_url=rig.url,
        signing_secrets=[rig.looppause.secret],
        drain_seconds=2.0,
        **nowhere,
    )
    async with first.running():
        pause_id = await decided(rig, first)
        await until(lambda: _waits_again(rig))
    await rig.rows("update procrastinate_jobs set scheduled_at = null")
    await rig.receiver(**hooked(team))
    await came(team.calls)
    assert team.said()["data"]["pause_id"] == pause_id


async def test_a_discarded_pause_is_not_told_of(rig: Rig, team: Team) -> None:
    """An outcome that was not stored is none: neither hook hears of it."""
    events: list[HookEvent] = []
    entered, let_go = asyncio.Event(), asyncio.Event()

    async def pay(_: Any) -> dict[str, Any]:
        entered.set()
        await let_go.wait()
        return {"done": ["paid"]}

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph}, on_resumed=events.append, **hooked(team))
    pause_id = await decided(rig, resumer, graph)
    await entered.wait()
    await rig.rows("update pauses set state = 'discarded' where pause_id = %s", pause_id)
    let_go.set()

    async def done() -> bool:
        return not await rig.rows("select from procrastinate_jobs where task_name = 'resume'")

    await until(done)
    assert (events, team.calls, await _jobs(rig)) == ([], [], [])


async def test_a_receiver_that_hangs_holds_up_no_resume(rig: Rig, team: Team) -> None:
    """The webhook has a worker of its own, so that a single slot for resumes stays free."""
    team.silent_seconds = 3.0
    resumer = await rig.receiver(concurrency=1, **hooked(team))
    await decided(rig, resumer)
    await came(team.calls)
    started = time.monotonic()
    [second] = await rig.hibernate(rig.agent(), "t2")
    await rig.deliver(resumer, rig.looppause.decide(second))
    await rig.until_state(second, "resumed")
    assert time.monotonic() - started < 2.0
    team.silent_seconds = 0.0


async def test_no_name_is_in_the_queue(rig: Rig, team: Team) -> None:
    """The queue logs the arguments of its jobs: who decided is looked up on sending."""
    team.statuses = [500]
    resumer = await rig.receiver(**hooked(team))
    await decided(rig, resumer)
    await until(lambda: _waits_again(rig))
    assert ADA not in json.dumps([job["args"] for job in await _jobs(rig)])


def test_neither_address_nor_secret_is_shown() -> None:
    """Whoever prints the settings sees no token of the address, and no secret."""
    settings: dict[str, Any] = {
        "hook_url": "https://hooks.example.com/T000/hunter2",
        "hook_secrets": (SECRET,),
    }
    resumer = Resumer(
        database_url="postgresql://db/x", signing_secrets=["s"], worker=False, **settings
    )
    assert "hunter2" not in repr(resumer.settings)
    assert SECRET not in repr(resumer.settings)
