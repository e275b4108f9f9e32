"""Waiting on the receiver: what the clients ask it, what they believe, and when they do without."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from looppause_sdk import (
    AsyncLoopPauseClient,
    LoopPauseClient,
    LoopPauseConfigError,
    LoopPauseUnavailable,
    PauseEnded,
    Proof,
    WaitDeadlineExceeded,
)
from looppause_sdk._protocol import Attempt, LoopPauseProtocol
from looppause_sdk._replies import Answer, Failure, Reply
from looppause_sdk._requests import Question
from looppause_sdk._retry import Clock
from looppause_sdk._settings import read_settings
from tests.vectors import SECRET
from tests.vectors.signing import APPROVAL, python_signed

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TOKEN = "a-token-for-reading-1"
API_KEY = "lp_live_key_of_the_agent"
URL = "https://approvals.example.com/resumer"
ENV = {"LOOPPAUSE_API_KEY": API_KEY, "LOOPPAUSE_SIGNING_SECRET": SECRET}
PROOF = python_signed(APPROVAL, SECRET)  # of pause_1
PENDING = {"status": "pending"}


def reply(members: Any, status: int = 200) -> Answer:
    """A reply with this JSON, or these bytes, as its body."""
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    return Reply(status, {}, body)


def handed(text: str | None, pause_id: str = "pause_1") -> Answer:
    """The receiver's answer."""
    return reply({"pause_id": pause_id, "state": "answered", "proof": text})


DOWN = Failure(httpx.ConnectError("refused"))
NOTHING = handed(None)
GIVEN = handed(json.dumps(PROOF))


@dataclass
class World:
    """A LoopPause and a receiver that answer in order, the last one again and again; own time.

    An answer of the receiver comes with the seconds it takes, None for as long as it may.
    """

    looppause: list[Answer]
    receiver: list[tuple[Answer, float | None]]
    elapsed: float = 0.0
    asked: list[tuple[str, float]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def protocol(self) -> LoopPauseProtocol:
        settings = read_settings(
            {},
            api_key=API_KEY,
            signing_secret=SECRET,
            signing_secrets=(),
            public_keys=(),
            base_url=None,
            request_timeout=10,
            max_attempts=4,
            receiver_url=URL,
            receiver_token=TOKEN,
        )
        clock = Clock(
            monotonic=lambda: self.elapsed,
            now=lambda: NOW + timedelta(seconds=self.elapsed),
            random=lambda: 1.0,
        )
        return LoopPauseProtocol(lambda: settings, clock)

    def wait(self, protocol: LoopPauseProtocol | None = None, **options: Any) -> Proof:
        flow = (protocol or self.protocol()).wait_for_proof(
            "pause_1",
            **{"poll_interval": 2.0, "max_interval": 30.0, "deadline_seconds": 3600.0, **options},
        )
        try:
            attempt = next(flow)
            while True:
                attempt = flow.send(self._answer(attempt))
        except StopIteration as end:
            result: Proof = end.value
            return result

    def _answer(self, attempt: Attempt) -> Answer:
        self.elapsed += attempt.wait
        self.attempts.append(attempt)
        assert len(self.attempts) < 5000
        self.asked.append(
            ("receiver" if attempt.request.to_receiver else "looppause", self.elapsed)
        )
        if not attempt.request.to_receiver:
            return self.looppause.pop(0) if len(self.looppause) > 1 else self.looppause[0]
        answer, seconds = self.receiver.pop(0) if len(self.receiver) > 1 else self.receiver[0]
        took = attempt.hold if seconds is None else seconds
        self.elapsed += min(took, attempt.limit)
        return answer if took <= attempt.limit else Failure(httpx.ReadTimeout("too late"))

    def times(self, who: str) -> list[float]:
        return [round(at, 1) for name, at in self.asked if name == who]


# -- when each is asked ----------------------------------------------------------------------------


def test_looppause_is_asked_once_at_the_beginning() -> None:
    """An answer that is there already needs no receiver."""
    world = World([reply(PROOF)], [(NOTHING, None)])
    assert world.wait().human_authorized
    assert world.asked == [("looppause", 0.0)]


def test_the_receivers_answer_ends_the_wait() -> None:
    """The first look finds nothing, then the receiver has it."""
    world = World([reply(PENDING)], [(NOTHING, None), (GIVEN, 3.0)])
    assert world.wait().pause_id == "pause_1"
    assert world.asked == [
        ("looppause", 0.0), ("receiver", 0.0), ("looppause", 25.0), ("receiver", 25.0),
    ]  # fmt: skip


def test_polls_follow_each_other_with_one_look_between() -> None:
    """A quiet pause costs LoopPause one look in 25 seconds, at a minute as after an hour."""
    world = World([reply(PENDING)], [(NOTHING, None)])
    with pytest.raises(WaitDeadlineExceeded):
        world.wait(deadline_seconds=100)
    assert world.times("looppause")[:4] == world.times("receiver") == [0, 25, 50, 75]
    assert world.times("looppause")[-1] == 100


def test_an_expiry_is_found_after_the_poll() -> None:
    """What ended without a webhook is LoopPause's to tell."""
    world = World([reply(PENDING), reply({"status": "expired"})], [(NOTHING, None)])
    with pytest.raises(PauseEnded, match="expired"):
        world.wait()
    assert world.elapsed == 25


def test_looppause_down_does_not_matter_to_who_is_told() -> None:
    """The receiver's proof is enough."""
    assert World([DOWN], [(GIVEN, 1.0)]).wait().human_authorized


@pytest.mark.parametrize("deadline", [0, 0.2, 1, 10, 60])
@pytest.mark.parametrize("seconds", [None, 1e9], ids=["in time", "never"])
def test_no_poll_goes_past_the_deadline(deadline: float, seconds: float | None) -> None:
    """However long the receiver holds back, LoopPause is asked last and at the deadline."""
    world = World([reply(PENDING)], [(NOTHING, seconds)])
    with pytest.raises(WaitDeadlineExceeded):
        world.wait(deadline_seconds=deadline)
    who, at = world.asked[-1]
    assert (who, round(at, 6)) == ("looppause", deadline)
    polls = [attempt for attempt in world.attempts if attempt.request.to_receiver]
    assert all(f"wait={attempt.hold:.3f}" in attempt.request.path for attempt in polls)


@pytest.mark.parametrize(
    "answer",
    [DOWN, reply({}, 503), reply({}, 429), reply(b"<html>"), reply([1]), reply({}), NOTHING, reply({"pause_id": "pause_1", "proof": 7})],
    ids=["down", "503", "429", "html", "array", "empty", "lets go at once", "number"],
)  # fmt: skip
def test_without_the_receiver_looppause_is_asked_as_usual(answer: Answer) -> None:
    """Its schedule is the one it has without a receiver, and the receiver gets another chance."""
    looks = [reply(PENDING)] * 6 + [reply(PROOF)]
    world = World(looks, [(answer, 0.0)])
    assert world.wait().human_authorized
    assert world.times("looppause") == [0, 2, 6, 14, 30, 60, 90]
    assert len(world.times("receiver")) == 6


def test_a_receiver_that_takes_its_time_to_fail_does_not_slow_the_looks() -> None:
    """What a failing poll takes is part of the time until the next look."""
    world = World([reply(PENDING)] * 4 + [reply(PROOF)], [(DOWN, 3.0)])
    world.wait()
    assert world.times("looppause") == [0, 3, 7, 15, 31]


def test_a_receiver_that_comes_back_is_listened_to() -> None:
    """After an outage the usual schedule starts anew, and the answer is there at once."""
    receiver: list[tuple[Answer, float | None]] = [(DOWN, 0.0)] * 3
    receiver += [(NOTHING, None), (NOTHING, 0.0), (GIVEN, 1.0)]
    world = World([reply(PENDING)], receiver)
    world.wait()
    assert world.times("looppause") == [0, 2, 6, 14, 39, 41]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 204])
def test_a_refusal_is_told_once_and_not_tried_again(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The same token would be refused again; the next wait tries, and is silent about it."""
    world = World([reply(PENDING), reply(PENDING), reply(PROOF)] * 2, [(reply({}, status), 0.0)])
    protocol = world.protocol()
    with caplog.at_level(logging.WARNING):
        world.wait(protocol)
        world.wait(protocol)
    assert len(world.times("receiver")) == 2
    [warning] = caplog.records
    assert "LOOPPAUSE_RECEIVER_" in warning.getMessage()
    assert TOKEN not in caplog.text


def test_a_pause_without_a_webhook_is_not_waited_for_at_the_receiver() -> None:
    """Nobody would tell the receiver."""
    world = World([reply({"pause_id": "pause_1"}), reply(PENDING), reply(PROOF)], [(NOTHING, None)])
    protocol = world.protocol()
    question = Question(
        agent_id="a",
        action={"type": "x"},
        recipients=[{"channel": "slack", "target": "#x"}],
        idempotency_key="k",
        webhook_url="",
    )
    opening = protocol.open_pause(question)
    next(opening)
    with pytest.raises(StopIteration):
        opening.send(world.looppause.pop(0))
    world.wait(protocol)
    assert world.asked == [("looppause", 0.0), ("looppause", 2.0)]


# -- what is believed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**PROOF, "decision": "rejected"}),
        json.dumps(python_signed(APPROVAL, "another secret")),
        json.dumps(python_signed({**APPROVAL, "pause_id": "pause_2"}, SECRET)),
        json.dumps({name: value for name, value in PROOF.items() if name != "signature"}),
        json.dumps({"pause_id": "pause_1", "status": "responded", "decision": "approved"}),
        "",
        "[]",
        "not json",
        "\ud800",
    ],
    ids=["forged", "foreign key", "another pause", "unsigned", "claimed", "empty", "array", "text", "surrogate"],
)  # fmt: skip
def test_a_proof_that_does_not_verify_is_not_believed(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """LoopPause goes on being asked as usual; the log says so once."""
    world = World([reply(PENDING)] * 3 + [reply({"status": "expired"})], [(handed(text), 0.0)])
    with caplog.at_level(logging.WARNING), pytest.raises(PauseEnded):
        world.wait()
    assert world.times("looppause") == [0, 2, 6, 14]
    assert len(caplog.records) == 1


def test_an_answer_for_another_pause_is_not_believed() -> None:
    """Even where the proof inside would do."""
    world = World([reply(PENDING), reply({"status": "expired"})], [(handed(json.dumps(PROOF), "pause_2"), 0.0)])  # fmt: skip
    with pytest.raises(PauseEnded):
        world.wait()


def test_an_unsigned_denial_is_a_reason_to_ask_looppause() -> None:
    """At once, and only once: it decides nothing."""
    denial = json.dumps({"pause_id": "pause_1", "status": "expired"})
    looks = [reply(PENDING)] * 4 + [reply(PROOF)]
    world = World(looks, [(handed(denial), 0.0)])
    assert world.wait().human_authorized
    assert world.times("looppause") == [0, 0, 4, 12, 28]


def test_an_unsigned_denial_that_looppause_confirms_ends_the_wait() -> None:
    """As any pause that ended."""
    denial = json.dumps({"pause_id": "pause_1", "status": "timed_out"})
    world = World([reply(PENDING), reply({"status": "timed_out"})], [(handed(denial), 5.0)])
    with pytest.raises(PauseEnded):
        world.wait()
    assert world.elapsed == 5


def test_an_unsigned_denial_does_not_outlast_looppauses_silence() -> None:
    """Nobody confirms it: the wait ends at its deadline, closed."""
    denial = json.dumps({"pause_id": "pause_1", "status": "expired"})
    with pytest.raises(LoopPauseUnavailable):
        World([DOWN], [(handed(denial), 0.0)]).wait(deadline_seconds=60)


def test_a_signed_notice_of_the_end_is_believed() -> None:
    """LoopPause's own word, come through the receiver."""
    notice = {"pause_id": "pause_1", "status": "timed_out", "authorization_type": "none"}
    signed = json.dumps(python_signed(notice, SECRET))
    with pytest.raises(PauseEnded):
        World([reply(PENDING)], [(handed(signed), 1.0)]).wait()


# -- settings --------------------------------------------------------------------------------------


def client(**options: Any) -> LoopPauseClient:
    """A client that is closed already: only its settings are looked at."""
    with LoopPauseClient(**{"env": ENV, **options}) as made:
        return made


@pytest.mark.parametrize(
    ("env", "options", "expected"),
    [
        ({}, {}, None),
        ({"LOOPPAUSE_WEBHOOK_URL": f"{URL}/webhooks/looppause"}, {}, None),
        ({"LOOPPAUSE_RECEIVER_URL": URL + "/", "LOOPPAUSE_RECEIVER_TOKEN": TOKEN}, {}, URL),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_WEBHOOK_URL": f"{URL}/webhooks/looppause"}, {}, URL),
        ({"LOOPPAUSE_RECEIVER_URL": "https://a", "LOOPPAUSE_RECEIVER_TOKEN": TOKEN}, {"receiver_url": URL}, URL),
        ({"LOOPPAUSE_RECEIVER_URL": URL}, {"receiver_token": TOKEN}, URL),
        ({"LOOPPAUSE_RECEIVER_URL": URL, "LOOPPAUSE_RECEIVER_TOKEN": TOKEN}, {"receiver_token": ""}, None),
        ({}, {"receiver_url": "http://127.0.0.1:8000", "receiver_token": TOKEN}, "http://127.0.0.1:8000"),
        ({}, {"receiver_url": "http://localhost:8000/x/", "receiver_token": TOKEN}, "http://localhost:8000/x"),
        ({}, {"receiver_url": "http://[::1]:8000", "receiver_token": TOKEN}, "http://[::1]:8000"),
        ({}, {"receiver_url": "http://resumer:8000", "receiver_token": TOKEN}, "http://resumer:8000"),
        ({}, {"receiver_url": "http://10.1.2.3", "receiver_token": TOKEN}, "http://10.1.2.3"),
    ],
)  # fmt: skip
def test_where_the_receiver_is(env: dict[str, str], options: Any, expected: str | None) -> None:
    """Arguments, then variables, then the webhook's address; none without a token."""
    assert client(env={**ENV, **env}, **options).receiver_url == expected


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"LOOPPAUSE_RECEIVER_URL": URL}, "needs LOOPPAUSE_RECEIVER_TOKEN"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN}, "set LOOPPAUSE_RECEIVER_URL"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_WEBHOOK_URL": "https://a/hook"}, "set LOOPPAUSE_RECEIVER_URL"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_RECEIVER_URL": "http://resumer.example"}, "LOOPPAUSE_RECEIVER_URL must start with https://"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_WEBHOOK_URL": "http://resumer.example:8000/webhooks/looppause"}, "LOOPPAUSE_WEBHOOK_URL must start with https://"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_RECEIVER_URL": "ftp://a"}, "http:// or https://"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_RECEIVER_URL": "https://a:b@c"}, "must not hold a user name"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": TOKEN, "LOOPPAUSE_RECEIVER_URL": "https://c/?x=1"}, "a query"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": "two words of a token", "LOOPPAUSE_RECEIVER_URL": URL}, "copy it again"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": "tökens-are-ascii-only", "LOOPPAUSE_RECEIVER_URL": URL}, "copy it again"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": f" {TOKEN}", "LOOPPAUSE_RECEIVER_URL": URL}, "white space"),
        ({"LOOPPAUSE_RECEIVER_TOKEN": API_KEY, "LOOPPAUSE_RECEIVER_URL": URL}, "must not be the API key"),
    ],
)  # fmt: skip
def test_faults_say_what_to_do(env: dict[str, str], message: str) -> None:
    """With what is wrong and how to mend it, and without the token."""
    with pytest.raises(LoopPauseConfigError) as caught:
        client(env={**ENV, **env})
    assert message in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_the_token_is_in_no_repr() -> None:
    """Nor in that of the settings."""
    made = client(receiver_url=URL, receiver_token=TOKEN)
    assert TOKEN not in repr(made) + repr(made._settings)


# -- both clients ----------------------------------------------------------------------------------


@dataclass
class Wire:
    """Both services behind one transport; notes who was sent which credential."""

    seen: list[tuple[str, str, str]] = field(default_factory=list)
    timeouts: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        place = f"{request.url.scheme}://{request.url.host}{request.url.path}"
        self.seen.append((place, str(request.url.query, "ascii"), request.headers["authorization"]))
        self.timeouts.append(request.extensions["timeout"])
        if request.url.host == "approvals.example.com":
            answer = {"pause_id": "pause_1", "state": "resumed", "proof": json.dumps(PROOF)}
            return httpx.Response(200, json=answer)
        return httpx.Response(200, json=PENDING)


def _sync(http: Callable[[httpx.Request], httpx.Response]) -> Proof:
    made = httpx.Client(transport=httpx.MockTransport(http), timeout=10)
    with made, LoopPauseClient(http_client=made, env=ENV, receiver_url=URL, receiver_token=TOKEN) as ours:  # fmt: skip
        return ours.wait_for_proof("pause_1")


def _async(http: Callable[[httpx.Request], httpx.Response]) -> Proof:
    async def run() -> Proof:
        async with httpx.AsyncClient(transport=httpx.MockTransport(http), timeout=10) as made:
            ours = AsyncLoopPauseClient(
                http_client=made, env=ENV, receiver_url=URL, receiver_token=TOKEN
            )
            return await ours.wait_for_proof("pause_1")

    return asyncio.run(run())


@pytest.mark.parametrize("wait", [_sync, _async])
def test_each_service_is_sent_only_what_is_its_own(wait: Any) -> None:
    """The API key goes to LoopPause, the token to the receiver; the read may take the poll's time."""
    wire = Wire()
    assert wait(wire).human_authorized
    assert wire.seen == [
        ("https://api.looppause.com/v1/pauses/pause_1", "", f"Bearer {API_KEY}"),
        (URL + "/pauses/pause_1", "wait=25.000", f"Bearer {TOKEN}"),
    ]
    look, poll = wire.timeouts
    assert look["read"] == 10
    assert (poll["read"], poll["connect"]) == (35, 3)


@pytest.mark.parametrize("wait", [_sync, _async])
def test_a_redirect_takes_no_token_with_it(wait: Any) -> None:
    """The receiver sends us elsewhere: nobody goes there."""
    seen: list[str] = []

    def elsewhere(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        if request.url.host == "approvals.example.com":
            return httpx.Response(302, headers={"location": "https://evil.example/"})
        status = PENDING if len(seen) == 1 else {"status": "expired"}
        return httpx.Response(200, json=status)

    with pytest.raises(PauseEnded):
        wait(elsewhere)
    assert "evil.example" not in seen
