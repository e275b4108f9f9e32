"""The clients' shared logic, driven by hand: what it sends, how long it waits, how it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest

from looppause_sdk import (
    LoopPauseConfigError,
    LoopPauseRequestError,
    LoopPauseUnavailable,
    PauseEnded,
    ProofError,
    WaitDeadlineExceeded,
)
from looppause_sdk._protocol import REMEMBERED_PAUSES, Attempt, Flow, LoopPauseProtocol
from looppause_sdk._replies import Answer, Failure, Reply
from looppause_sdk._requests import Question, create_request, look_request
from looppause_sdk._retry import Clock, backoff, parse_time, retry_after
from looppause_sdk._settings import read_settings
from looppause_sdk._waiting import expiry_of
from tests.vectors import PUBLIC_KEY, SECRET, VECTORS, Vector
from tests.vectors.signing import APPROVAL, python_signed

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DOWN = Failure(httpx.ConnectError("refused"))
QUESTION = Question(
    agent_id="billing",
    action={"type": "payment"},
    recipients=[{"channel": "email", "target": "alice@acme.example"}],
    idempotency_key="idem_1",
)
SETTINGS = read_settings(
    {},
    api_key="key",
    signing_secret=SECRET,
    signing_secrets=(),
    public_keys=PUBLIC_KEY,
    base_url=None,
    request_timeout=10,
    max_attempts=4,
)
T = TypeVar("T")


class Driver:
    """Runs flows on a clock of its own: waiting takes no time, an answer takes `lag` seconds."""

    def __init__(self, lag: float = 0.0) -> None:
        self.elapsed = 0.0
        self.attempts: list[Attempt] = []
        self._lag = lag
        self.protocol = LoopPauseProtocol(
            lambda: SETTINGS,
            Clock(
                monotonic=lambda: self.elapsed,
                now=lambda: NOW + timedelta(seconds=self.elapsed),
                random=lambda: 1.0,
            ),
        )

    def run(self, flow: Flow[T], answers: Iterable[Answer]) -> T:
        """Give the answers in order, the last one again and again."""
        script = list(answers)
        try:
            attempt = next(flow)
            while True:
                self.attempts.append(attempt)
                assert len(self.attempts) < 10_000
                self.elapsed += attempt.wait + self._lag
                attempt = flow.send(script.pop(0) if len(script) > 1 else script[0])
        except StopIteration as end:
            result: T = end.value
            return result

    def wait(self, answers: Iterable[Answer], **options: Any) -> Any:
        options = {"poll_interval": 2.0, "max_interval": 30.0, "deadline_seconds": None, **options}
        return self.run(self.protocol.wait_for_proof("pause_1", **options), answers)

    @property
    def waits(self) -> list[float]:
        return [attempt.wait for attempt in self.attempts]


def _reply(members: Any = None, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps({} if members is None else members).encode())


PENDING = _reply({"status": "pending"})
ANSWERED = _reply(python_signed(APPROVAL, SECRET))


# -- how long a wait lasts -----------------------------------------------------------------------


def test_looks_come_ever_later_up_to_a_maximum() -> None:
    """The interval doubles from `poll_interval` to `max_interval`."""
    driver = Driver()
    driver.wait([*[PENDING] * 6, ANSWERED], poll_interval=2, max_interval=10)
    assert driver.waits == [0, 2, 4, 8, 10, 10, 10]


@pytest.mark.parametrize("deadline", [0, 0.001, 1, 7.5, 3600])
def test_a_wait_ends_exactly_at_its_deadline(deadline: float) -> None:
    """No sleep goes past the deadline, and the last look comes at it."""
    driver = Driver()
    with pytest.raises(WaitDeadlineExceeded, match="pause_1"):
        driver.wait([PENDING], deadline_seconds=deadline)
    assert driver.elapsed == pytest.approx(deadline)


def test_an_answer_at_the_last_look_counts() -> None:
    """The deadline is followed by one last look."""
    driver = Driver()
    assert driver.wait([PENDING, ANSWERED], deadline_seconds=1).human_authorized
    assert driver.waits == [0, 1]


@pytest.mark.parametrize("retry", ["600", "9"])
def test_retry_after_never_carries_a_wait_past_its_deadline(retry: str) -> None:
    """What the server asks for is granted within the deadline only."""
    driver = Driver()
    with pytest.raises(LoopPauseUnavailable):
        driver.wait([_reply(status=429, retry_after=retry)], deadline_seconds=5)
    assert driver.waits == [0, 5]


def test_retry_after_spaces_the_looks() -> None:
    """A 429 moves the next look back as far as asked."""
    driver = Driver()
    driver.wait([_reply(status=429, retry_after="17"), ANSWERED])
    assert driver.waits == [0, 17]


@pytest.mark.parametrize(
    "members, seconds",
    [
        ({"expires_at": "2026-11-22T12:01:00Z"}, 60),
        ({"expires_at": "2026-11-22T13:01:00+01:00"}, 60),
        ({"expires_at": "2026-11-22T12:01:00"}, 60),
        ({"created_at": "2026-11-22T11:00:00Z", "timeout_hours": 2}, 3600),
        ({"created_at": "2026-11-22T11:00:00Z", "timeout_hours": 10**400}, 86400),
        ({"created_at": "2026-11-22T11:00:00Z"}, 86400),
        ({"expires_at": 1795348860}, 86400),
        ({"expires_at": "2026-11-22T11:59:00Z"}, 0),
        ({}, 86400),
    ],
    ids=repr,
)
def test_the_default_deadline_is_the_pauses_own(members: dict[str, Any], seconds: float) -> None:
    """Without a deadline of the caller's, what LoopPause says of the pause bounds the wait."""
    driver = Driver()
    with pytest.raises(WaitDeadlineExceeded):
        driver.wait([_reply({"status": "pending", **members})])
    assert driver.elapsed == pytest.approx(seconds)


def test_the_callers_deadline_goes_before_the_pauses() -> None:
    """A caller who names a deadline gets that one."""
    driver = Driver()
    with pytest.raises(WaitDeadlineExceeded):
        driver.wait(
            [_reply({"status": "pending", "expires_at": "2026-11-23T12:00:00Z"})],
            deadline_seconds=9,
        )
    assert driver.elapsed == pytest.approx(9)


def test_a_pause_of_our_own_is_waited_for_as_long_as_it_was_opened_for() -> None:
    """The client remembers when its own pauses expire."""
    driver = Driver()
    driver.run(driver.protocol.open_pause(QUESTION), [_reply({"pause_id": "pause_1"})])
    driver.elapsed += 3600
    with pytest.raises(WaitDeadlineExceeded):
        driver.wait([PENDING])
    assert driver.elapsed == pytest.approx(24 * 3600)


def test_only_so_many_pauses_are_remembered() -> None:
    """A client that opens pauses for ever does not grow for ever."""
    driver = Driver()
    for number in range(REMEMBERED_PAUSES + 5):
        driver.run(driver.protocol.open_pause(QUESTION), [_reply({"pause_id": f"p{number}"})])
    remembered = list(driver.protocol._opened)
    assert remembered[0] == "p5"
    assert len(remembered) == REMEMBERED_PAUSES


def test_a_look_may_take_no_longer_than_is_left() -> None:
    """Every attempt's limit ends soon after the deadline."""
    driver = Driver()
    with pytest.raises(WaitDeadlineExceeded):
        driver.wait([PENDING], deadline_seconds=10)
    assert [attempt.limit for attempt in driver.attempts] == pytest.approx([11, 9, 5, 1])


@pytest.mark.parametrize(
    "option, value",
    [
        ("poll_interval", 0),
        ("poll_interval", -1),
        ("max_interval", float("nan")),
        ("max_interval", "30"),
        ("deadline_seconds", -1),
        ("deadline_seconds", float("inf")),
        ("deadline_seconds", True),
    ],
)
def test_times_nobody_can_wait_are_refused(option: str, value: Any) -> None:
    """A bad number of seconds is an error that names it, before anything is sent."""
    driver = Driver()
    with pytest.raises(LoopPauseConfigError, match=option):
        driver.wait([PENDING], **{option: value})
    assert driver.attempts == []


# -- how a wait ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, told",
    [
        ("timed_out", "timed_out"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
    ],
)
def test_a_terminal_status_ends_the_wait_at_once(status: str, told: str) -> None:
    """Each known ending raises `PauseEnded`, in our spelling, at the look that shows it."""
    driver = Driver()
    with pytest.raises(PauseEnded) as caught:
        driver.wait([PENDING, _reply({"status": status})])
    assert caught.value.status == told
    assert len(driver.attempts) == 2


def test_a_signed_notice_of_an_ending_is_one() -> None:
    """A genuine proof that nobody answered is no answer."""
    notice = python_signed({"pause_id": "pause_1", "status": "expired"}, SECRET)
    with pytest.raises(PauseEnded, match="expired"):
        Driver().wait([_reply(notice)])


@pytest.mark.parametrize("status", ["escalated", "failed", None, 5], ids=repr)
def test_an_unknown_status_is_reported_once_and_waited_through(
    status: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A status from LoopPause's future does not end a wait, and does not flood the log."""
    unknown = _reply({"status": status})
    with caplog.at_level(logging.WARNING, logger="looppause_sdk"):
        proof = Driver().wait([unknown, unknown, PENDING, unknown, ANSWERED])
    assert proof.human_authorized
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("looppause_sdk", "WARNING")
    assert "pause_1" in record.getMessage()


def test_known_statuses_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Waiting as usual logs nothing."""
    Driver().wait([PENDING, _reply({"status": "delivered"}), ANSWERED])
    assert caplog.records == []


def test_a_rejection_is_a_proof() -> None:
    """A person's "no" is returned, not raised."""
    rejected = python_signed({**APPROVAL, "decision": "rejected"}, SECRET)
    proof = Driver().wait([_reply(rejected)])
    assert (proof.decision, proof.human_authorized) == ("rejected", False)


def test_a_proof_without_a_status_is_an_answer() -> None:
    """A bare signed proof needs no status beside it."""
    bare = {name: value for name, value in APPROVAL.items() if name != "status"}
    assert Driver().wait([_reply(python_signed(bare, SECRET))]).human_authorized


@pytest.mark.parametrize(
    "change",
    [{"decision": "rejected"}, {"signature": None}, {"signature": "0" * 64}, {"pause_id": "other"}],
    ids=repr,
)
def test_a_forged_answer_ends_the_wait_without_a_proof(change: dict[str, Any]) -> None:
    """What no key has signed is refused at once, not looked at again."""
    driver = Driver()
    with pytest.raises(ProofError):
        driver.wait([_reply({**python_signed(APPROVAL, SECRET), **change})])
    assert len(driver.attempts) == 1


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.expect != "valid"], ids=str)
def test_no_hostile_body_comes_out_of_a_wait_as_a_proof(vector: Vector) -> None:
    """Every refused vector, served as the pause, ends in an SDK error."""
    with pytest.raises((ProofError, LoopPauseUnavailable, PauseEnded, WaitDeadlineExceeded)):
        Driver().wait([Reply(200, {}, vector.body)], deadline_seconds=1)


def test_an_outage_that_lasts_is_told_at_the_deadline() -> None:
    """If the last look failed, nobody knows: that is unavailable, not unanswered."""
    driver = Driver()
    with pytest.raises(LoopPauseUnavailable, match="refused"):
        driver.wait([PENDING, DOWN], deadline_seconds=100)
    assert driver.elapsed == pytest.approx(100)


def test_an_outage_that_passes_is_forgotten() -> None:
    """If the last look worked, the wait ended unanswered, whatever failed before."""
    with pytest.raises(WaitDeadlineExceeded):
        Driver().wait([DOWN, _reply(status=503), PENDING], deadline_seconds=100)


@pytest.mark.parametrize("status", [301, 401, 404])
def test_a_refusal_ends_the_wait(status: int) -> None:
    """Looking again would not help, so the refusal is raised."""
    driver = Driver()
    with pytest.raises(LoopPauseRequestError):
        driver.wait([PENDING, _reply(status=status)])
    assert len(driver.attempts) == 2


# -- trying again ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attempt, chance, seconds",
    [(1, 1, 0.5), (2, 1, 1), (3, 0.5, 1), (5, 1, 8), (9, 1, 8), (10**6, 1, 8), (4, 0, 0)],
)
def test_backoff_doubles_with_full_jitter(attempt: int, chance: float, seconds: float) -> None:
    """Chance picks a point between nothing and a bounded, doubling maximum."""
    assert backoff(attempt, chance) == seconds


@pytest.mark.parametrize(
    "header, seconds",
    [
        ("7", 7),
        (" 1.5 ", 1.5),
        ("0", 0),
        ("61", 60),
        ("999999999999999999999999", 0),
        ("-5", 0),
        ("nan", 0),
        ("٣", 0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30),
        ("Sun, 22 Nov 2026 11:59:00 GMT", 0),
        ("Mon, 23 Nov 2026 12:00:00 GMT", 60),
        ("Sun, 99 Nov 2026 12:00:00 GMT", 0),
        ("Sun, 22 Nov 99999999999999999999 12:00:00 GMT", 0),
        ("soon", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_retry_after_reads_seconds_and_dates(header: str | None, seconds: float) -> None:
    """Both forms of RFC 9110, never negative, never over a minute, nonsense ignored."""
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "9" * 50, None, 5, {}])
def test_what_is_no_time_is_none(text: Any) -> None:
    """A time that cannot be read is treated as not given."""
    assert parse_time(text) is None


def test_an_expiry_too_far_away_is_none() -> None:
    """A sum that no calendar holds is treated as not given."""
    assert expiry_of({"created_at": "9999-12-31T00:00:00Z", "timeout_hours": 48}) is None


# -- what is sent -----------------------------------------------------------------------------------


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


def _circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"agent_id": " "}, "agent_id must be a string, not empty"),
        ({"action": {}}, "action is empty"),
        ({"action": ["pay"]}, "action must be a mapping"),
        ({"action": {"amount": float("nan")}}, "action cannot be sent as JSON"),
        ({"action": {"amount": float("inf")}}, "action cannot be sent as JSON"),
        ({"action": {"at": NOW}}, "action cannot be sent as JSON: datetime has no JSON form"),
        ({"action": {"name": "\ud800"}}, "action cannot be sent as JSON"),
        ({"action": {1: "a", "1": "b"}}, "action cannot be sent as JSON: .*twice"),
        ({"action": _deep(70)}, "action cannot be sent as JSON: .*deep"),
        ({"action": _deep(100_000)}, "action cannot be sent as JSON"),
        ({"action": _circle()}, "action cannot be sent as JSON"),
        ({"recipients": []}, "recipients is empty"),
        ({"recipients": "alice"}, "recipients must be a list"),
        ({"recipients": [{"channel": "slack"}]}, r"recipients \[0\] must have a `channel`"),
        ({"recipients": ["alice"]}, r"recipients \[0\] must have a `channel`"),
        ({"idempotency_key": ""}, "idempotency_key must be 1 to 255"),
        ({"idempotency_key": "a\r\nX-Evil: 1"}, "idempotency_key must be 1 to 255"),
        ({"idempotency_key": "schlüssel"}, "idempotency_key must be 1 to 255"),
        ({"idempotency_key": " a"}, "idempotency_key must not have spaces"),
        ({"webhook_url": "agents.example/hook"}, "webhook_url must start with http"),
        ({"form": ["amount"]}, "form must be a mapping"),
        ({"escalation": {"after_hours": {1}}}, "escalation cannot be sent as JSON: set has no"),
        ({"metadata": "t1"}, "metadata must be a mapping"),
        ({"timeout_hours": 0}, "timeout_hours must be a number of hours above 0"),
        ({"timeout_hours": float("nan")}, "timeout_hours must be a number of hours"),
        ({"timeout_hours": True}, "timeout_hours must be a number of hours"),
        ({"timeout_hours": 10**400}, "timeout_hours must be a number of hours"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_argument_that_cannot_be_sent_is_named(change: dict[str, Any], fault: str) -> None:
    """The error says which argument it is and what is wrong with it."""
    question = Question(**{**QUESTION.__dict__, **change})
    with pytest.raises(LoopPauseConfigError, match=fault):
        create_request(question, webhook_url=None)


def test_all_faults_of_a_question_are_told_together() -> None:
    """One run shows everything that is to be mended."""
    question = Question(agent_id="", action={}, recipients=[], idempotency_key="")
    with pytest.raises(LoopPauseConfigError) as caught:
        create_request(question, webhook_url=None)
    for name in ("agent_id", "action", "recipients", "idempotency_key"):
        assert str(caught.value).count(f"{name} ") == 1


@pytest.mark.parametrize("pause_id", ["", ".", "..", "a\nb", "p" * 256, None, 5], ids=repr)
def test_what_cannot_be_a_pause_id_is_not_asked_for(pause_id: Any) -> None:
    """No request goes out for an id that would address something else."""
    with pytest.raises(LoopPauseConfigError, match="pause_id must be what create_pause returned"):
        look_request(pause_id)


@pytest.mark.parametrize(
    "call",
    [
        lambda protocol: protocol.open_pause(QUESTION),
        lambda protocol: protocol.get_pause("pause_1"),
    ],
    ids=["open", "get"],
)
def test_attempts_are_bounded(call: Callable[[LoopPauseProtocol], Flow[Any]]) -> None:
    """The same request goes out `max_attempts` times and no more."""
    driver = Driver()
    with pytest.raises(LoopPauseUnavailable, match="after 4 attempts"):
        driver.run(call(driver.protocol), [DOWN])
    assert driver.waits == [0, 0.5, 1, 2]
    assert len({id(attempt.request) for attempt in driver.attempts}) == 1
