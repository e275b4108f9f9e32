"""Asking and waiting: what the client does when LoopPause stumbles, and when it gives up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import looppause_client
import pytest
from typing_extensions import override

from looppause_sdk.testing import Reply
from tests.agents import RECIPIENTS
from tests.contract.claims import NOT_RAISED, Claims
from tests.contract.sdks import Sdk

CLAIMS = Claims()

HOUR = 3600
PAGE = Reply(200, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>")
STUMBLES = {
    "429": (Reply(429, {"Retry-After": "1"}), httpx.HTTPStatusError),
    "500": (Reply(500), httpx.HTTPStatusError),
    "502": (Reply(502, {}, PAGE.body), httpx.HTTPStatusError),
    "html": (PAGE, ValueError),
}


def _ask(client: Any, **settings: Any) -> str:
    pause_id: str = client.create_pause(
        **{
            "agent_id": "billing",
            "action": {"type": "payment", "description": "Pay 5 EUR"},
            "recipients": RECIPIENTS,
            "idempotency_key": "key",
            **settings,
        }
    )
    return pause_id


# -- a LoopPause that stumbles -------------------------------------------------------------------


@CLAIMS.breaks(cases=STUMBLES)
def look_that_fails_is_tried_again(sdk: Sdk, reply: Reply) -> None:
    """One bad reply while a person thinks does not end the wait."""
    client = sdk.client()
    pause_id = _ask(client)
    sdk.looppause.decide(pause_id)
    sdk.looppause.faults.append(reply)
    assert client.wait_for_proof(pause_id).human_authorized


@CLAIMS.breaks(cases=STUMBLES)
def create_that_keeps_failing_is_unavailable(sdk: Sdk, reply: Reply) -> None:
    """The caller hears of it by the error that is documented for it."""
    sdk.looppause.faults += [reply] * 10
    with pytest.raises(sdk.package.LoopPauseUnavailable):
        _ask(sdk.client())


@CLAIMS.breaks(looppause_client.LoopPauseUnavailable, "503")
def create_is_tried_again_after_one_503(sdk: Sdk) -> None:
    """The idempotency key makes that safe."""
    sdk.looppause.fail_next(503)
    assert [_ask(sdk.client())] == list(sdk.looppause.pauses)


@CLAIMS.breaks(looppause_client.LoopPauseDenied, "deadline")
def outage_until_the_deadline_is_no_denial(sdk: Sdk) -> None:
    """Nobody said no: whoever was asked may have approved meanwhile."""
    client = sdk.client()
    pause_id = _ask(client)
    sdk.looppause.fail_next(503, times=100)
    with pytest.raises(sdk.package.LoopPauseUnavailable):
        client.wait_for_proof(pause_id, deadline_seconds=60)


# -- whose answer it is --------------------------------------------------------------------------


@CLAIMS.breaks(NOT_RAISED)
def wait_takes_the_proof_of_its_own_pause_only(sdk: Sdk) -> None:
    """A genuine approval of something else, served in its place, approves nothing."""
    client = sdk.client()
    small = _ask(client, idempotency_key="small")
    big = _ask(client, idempotency_key="big")
    proof = sdk.looppause.decide(small)
    sdk.looppause.pauses[big] = {**sdk.looppause.pauses[small], "proof": proof}
    with pytest.raises(sdk.package.LoopPauseDenied):
        client.wait_for_proof(big)


# -- how long it waits ---------------------------------------------------------------------------


@CLAIMS.breaks(looppause_client.LoopPauseDenied, "deadline")
def wait_lasts_as_long_as_the_pause(sdk: Sdk) -> None:
    """A question open for 48 hours may be answered after 30."""
    client = sdk.client()
    pause_id = _ask(client, timeout_hours=48)
    _approve_after(sdk, pause_id, 30 * HOUR)
    assert client.wait_for_proof(pause_id, max_interval=HOUR).human_authorized


def _approve_after(sdk: Sdk, pause_id: str, seconds: float) -> None:
    def then() -> None:
        if sdk.time.passed >= seconds:
            sdk.time.then = lambda: None
            sdk.looppause.decide(pause_id)

    sdk.time.then = then


@CLAIMS.breaks(saying=r"assert \d+\.0 <= ", cases={"1": 1.0, "2": 2.0, "7": 7.0})
def wait_ends_at_its_deadline(sdk: Sdk, deadline: float) -> None:
    """However the looks fall: 0.1.0 takes 2, 6 and 14 seconds for these."""
    client = sdk.client()
    pause_id = _ask(client)
    with pytest.raises(sdk.package.LoopPauseDenied):
        client.wait_for_proof(pause_id, deadline_seconds=deadline)
    assert deadline <= sdk.time.passed <= 1.1 * deadline


@CLAIMS.breaks(
    saying=r"assert \d{5}\.0 == 0", cases={"cancelled": "cancelled", "canceled": "canceled"}
)
def cancelled_pause_ends_the_wait_at_once(sdk: Sdk, status: str) -> None:
    """It is over, and nobody will answer it."""
    client = sdk.client()
    pause_id = _ask(client)
    sdk.looppause.pauses[pause_id] = {**sdk.looppause.document(pause_id), "status": status}
    with pytest.raises(sdk.package.LoopPauseDenied):
        client.wait_for_proof(pause_id, max_interval=HOUR)
    assert sdk.time.passed == 0


@CLAIMS.breaks(saying="assert False")
def status_nobody_knows_is_reported(sdk: Sdk) -> None:
    """It may be an end or not: the wait goes on, and the log says what for."""
    client = sdk.client()
    pause_id = _ask(client)
    sdk.looppause.pauses[pause_id] = {**sdk.looppause.document(pause_id), "status": "withdrawn"}
    with _listening() as heard, pytest.raises(sdk.package.LoopPauseDenied):
        client.wait_for_proof(pause_id, deadline_seconds=60)
    assert any("withdrawn" in message for message in heard)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What any logger says meanwhile."""
    heard: list[str] = []

    class Ear(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    ear = Ear()
    logging.getLogger().addHandler(ear)
    try:
        yield heard
    finally:
        logging.getLogger().removeHandler(ear)


test_we_hold, test_published_breaks = CLAIMS.tests()
