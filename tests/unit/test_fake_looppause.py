"""The brain of the local LoopPause: what it takes, what it signs, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import looppause_client
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from looppause_sdk.errors import LoopPauseConfigError, LoopPauseRequestError, ProofInvalid
from looppause_sdk.proof import verify
from looppause_sdk.testing import FakeLoopPause, sign_proof

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
BEARER = {"Authorization": "Bearer key"}


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    """A clock that only the test moves."""
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> FakeLoopPause:
    """A brain that lives by that clock."""
    return FakeLoopPause(clock=clock)


def question(**members: Any) -> dict[str, Any]:
    """A usable request, with some members replaced."""
    return {
        "agent_id": "payer",
        "action": {"type": "payment", "description": "Pay Müller 5 €", "details": {"amount": 5}},
        "recipients": [{"channel": "slack", "target": "#finance"}],
        **members,
    }


def ask(fake: FakeLoopPause, **members: Any) -> str:
    """Open a pause and return its id."""
    pause_id: str = fake.create(question(**members))["pause_id"]
    return pause_id


def post(fake: FakeLoopPause, path: str, content: Any, **headers: str) -> Any:
    """Post JSON, or bytes as they are, with a bearer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return fake.handle("POST", path, {**BEARER, **headers}, body)


def keys_of(fake: FakeLoopPause) -> dict[str, Any]:
    """What `verify` needs for the proofs of this brain."""
    return {"secrets": fake.secret, "public_keys": fake.public_key}


# -- signing ---------------------------------------------------------------------------------


AWKWARD = {"ü": "✅", "amount": 1e-7, "big": 1e21, "whole": 1.0, "deep": [{"z": None, "a": True}]}


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
def test_a_signed_proof_is_genuine_before_and_after_the_wire(scheme: Any) -> None:
    """What the brain signs verifies as a mapping, as bytes, and says what was decided."""
    fake = FakeLoopPause(scheme=scheme)
    pause_id = ask(fake)
    signed = fake.decide(pause_id, "rejected", comment="zu teuer, 你好", fields=AWKWARD)
    for received in (signed, json.dumps(signed), json.dumps(signed, ensure_ascii=False).encode()):
        proof = verify(received, **keys_of(fake))
        assert (proof.pause_id, proof.decision, proof.scheme) == (pause_id, "rejected", scheme)
        assert (proof.comment, proof.fields) == ("zu teuer, 你好", AWKWARD)


def test_the_published_client_takes_an_hmac_proof() -> None:
    """looppause 0.1.0 verifies what `sign_proof` signs, and refuses it once changed."""
    signed = sign_proof({"pause_id": "p", "comment": "für Müller", "fields": AWKWARD}, secret="s")
    assert looppause_client.verify_signature(signed, "s")
    assert not looppause_client.verify_signature({**signed, "comment": "x"}, "s")


def test_ed25519_signs_the_canonical_payload() -> None:
    """The signed text is compact, sorted, raw UTF-8, and has no signature in it."""
    signed = sign_proof(
        {"b": "ü", "a": 1, "signature": "old"}, private_key=Ed25519PrivateKey.generate()
    )
    assert signed["canonical_payload"] == '{"a":1,"b":"ü"}'


@pytest.mark.parametrize("keys", [{}, {"secret": "s", "private_key": Ed25519PrivateKey.generate()}])
def test_sign_proof_wants_exactly_one_key(keys: dict[str, Any]) -> None:
    """No key, or two, is a mistake of the caller."""
    with pytest.raises(TypeError, match="either"):
        sign_proof({"pause_id": "p"}, **keys)


def test_a_new_key_signs_from_then_on(fake: FakeLoopPause) -> None:
    """Rotating a secret leaves earlier proofs as they were."""
    first, old = ask(fake), fake.secret
    fake.decide(first)
    fake.secret = "the next one"
    second = fake.decide(ask(fake))
    verify(fake.get(first), secrets=old)
    verify(second, secrets="the next one")
    with pytest.raises(ProofInvalid):
        verify(second, secrets=old)


def test_the_schemes_can_be_changed_while_it_runs(fake: FakeLoopPause) -> None:
    """Setting `scheme` and `private_key` changes who signs the next proof."""
    fake.scheme = "ed25519"
    fake.private_key = Ed25519PrivateKey.generate()
    assert verify(fake.decide(ask(fake)), public_keys=fake.public_key).scheme == "ed25519"


@pytest.mark.parametrize("bad", [{"scheme": "rsa"}, {"secret": ""}, {"api_key": ""}])
def test_unusable_settings_are_refused(bad: dict[str, Any]) -> None:
    """A wrong scheme or an empty key is an error at construction."""
    with pytest.raises(LoopPauseConfigError):
        FakeLoopPause(**bad)


def test_no_secret_in_its_repr(fake: FakeLoopPause) -> None:
    """The brain and its signer can be printed."""
    assert fake.secret not in repr(fake) + repr(vars(fake))


def test_it_is_quick_enough_for_thousands_of_proofs(fake: FakeLoopPause) -> None:
    """Two thousand questions are asked, answered and verified well within the timeout."""
    for _ in range(2000):
        verify(fake.decide(ask(fake)), secrets=fake.secret)
    assert len(fake.documents()) == 2000


def test_importing_it_needs_no_pytest() -> None:
    """`looppause_sdk.testing` is usable where pytest is not installed."""
    code = "import sys; sys.modules['pytest'] = None; import looppause_sdk.testing"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# -- asking ----------------------------------------------------------------------------------


def test_a_waiting_pause_says_when_it_ends(fake: FakeLoopPause) -> None:
    """A pause nobody answered shows its status and its times, and nothing that looks signed."""
    pause_id = ask(fake, timeout_hours=1.5)
    assert fake.get(pause_id) == {
        "pause_id": pause_id,
        "status": "pending",
        "created_at": "2026-11-22T10:00:00.000Z",
        "expires_at": "2026-11-22T11:30:00.000Z",
        "timeout_hours": 1.5,
    }


def test_pause_ids_are_26_characters_that_sort_by_time(fake: FakeLoopPause, clock: Clock) -> None:
    """An id has the prefix and 26 characters; a later one sorts after an earlier one."""
    first = ask(fake)
    clock.advance(seconds=1)
    second = ask(fake)
    assert first < second
    assert first.startswith("pause_")
    assert len(first) == 32


def test_the_same_key_returns_the_existing_pause(fake: FakeLoopPause) -> None:
    """A repeated create, answered or not, opens nothing new."""
    first = fake.create(question(), idempotency_key="k")
    fake.decide(first["pause_id"])
    again = fake.create(question(timeout_hours=3), idempotency_key="k")
    assert again["pause_id"] == first["pause_id"]
    assert again["status"] == "responded"
    assert len(fake.documents()) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"agent_id": "another"},
        {"action": {"type": "payment", "description": "Pay 1,000,000 €"}},
        {"form": {"fields": []}},
    ],
)
def test_the_same_key_for_another_question_is_refused(fake: FakeLoopPause, other: Any) -> None:
    """An idempotency key cannot carry an old answer over to a new question."""
    fake.create(question(), idempotency_key="k")
    with pytest.raises(LoopPauseRequestError, match="another question") as refused:
        fake.create(question(**other), idempotency_key="k")
    assert refused.value.status_code == 422


def test_concurrent_creates_with_one_key_open_one_pause(fake: FakeLoopPause) -> None:
    """Thirty-two threads that ask at once get the same pause."""
    barrier = threading.Barrier(32)

    def create(_: int) -> str:
        barrier.wait(10)
        pause_id: str = fake.create(question(), idempotency_key="k")["pause_id"]
        return pause_id

    with ThreadPoolExecutor(32) as threads:
        assert len(set(threads.map(create, range(32)))) == 1


def test_keys_are_remembered_by_a_store_that_is_kept(fake: FakeLoopPause) -> None:
    """Another brain over the same pauses knows their keys, answers and deadlines."""
    waiting = fake.create(question(), idempotency_key="k")
    later = FakeLoopPause(pauses=fake.pauses, clock=lambda: START + timedelta(days=2))
    assert later.create(question(), idempotency_key="k")["pause_id"] == waiting["pause_id"]
    assert later.get(waiting["pause_id"])["status"] == "timed_out"


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no agent": ({"agent_id": ""}, "agent_id"),
    "no action": ({"action": None}, "action"),
    "no description": ({"action": {"type": "t"}}, "action.description"),
    "type not text": ({"action": {"type": 1, "description": "d"}}, "action.type"),
    "no recipients": ({"recipients": []}, "recipients"),
    "recipient not object": ({"recipients": ["#x"]}, r"recipients\[0\]"),
    "unknown channel": ({"recipients": [{"channel": "fax", "target": "1"}]}, "channel"),
    "no target": ({"recipients": [{"channel": "slack"}]}, "target"),
    "timeout zero": ({"timeout_hours": 0}, "timeout_hours"),
    "timeout bool": ({"timeout_hours": True}, "timeout_hours"),
    "timeout text": ({"timeout_hours": "24"}, "timeout_hours"),
    "timeout huge": ({"timeout_hours": 1e9}, "timeout_hours"),
    "timeout infinite": ({"timeout_hours": float("inf")}, "JSON"),
    "webhook ftp": ({"webhook_url": "ftp://x"}, "webhook_url"),
    "webhook no host": ({"webhook_url": "http://"}, "webhook_url"),
    "webhook broken": ({"webhook_url": "http://[::1"}, "webhook_url"),
    "webhook not text": ({"webhook_url": 5}, "webhook_url"),
    "form list": ({"form": []}, "form"),
    "metadata text": ({"metadata": "x"}, "metadata"),
    "no after_hours": ({"escalation": {"fallback_action": "auto_reject"}}, "after_hours"),
    "odd fallback": ({"escalation": {"after_hours": 1, "fallback_action": "x"}}, "fallback_action"),
    "lone surrogate": ({"agent_id": "\ud800"}, "JSON"),
    "not json": ({"metadata": {"x": object()}}, "JSON"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_an_unusable_question_is_refused_by_name(fake: FakeLoopPause, case: str) -> None:
    """Each fault of a request is a 400 that names the member."""
    members, named = BAD_REQUESTS[case]
    with pytest.raises(LoopPauseRequestError, match=named) as refused:
        fake.create(question(**members))
    assert refused.value.status_code == 400


def test_what_was_asked_is_kept_apart_from_the_callers_objects(fake: FakeLoopPause) -> None:
    """Changing a request after it was sent changes nothing."""
    request = question()
    pause_id = fake.create(request)["pause_id"]
    request["action"]["details"]["amount"] = 1_000_000
    assert fake.document(pause_id)["request"]["action"]["details"] == {"amount": 5}


# -- answering -------------------------------------------------------------------------------


def test_the_first_decision_stands(fake: FakeLoopPause) -> None:
    """A second decision is an error, and the proof stays the first one."""
    pause_id = ask(fake)
    proof = fake.decide(pause_id, "rejected", responder="bob")
    with pytest.raises(LoopPauseRequestError, match="already rejected by bob") as refused:
        fake.decide(pause_id, "approved")
    assert refused.value.status_code == 409
    assert fake.get(pause_id) == proof


@pytest.mark.parametrize(
    "decision, authorization_type, authorized",
    [
        ("approved", "human", True),
        ("rejected", "human", False),
        ("approved", "system_fallback", False),
    ],
)
def test_only_a_persons_approval_is_human_authorized(
    fake: FakeLoopPause, decision: str, authorization_type: str, authorized: bool
) -> None:
    """`decide` can act out a fallback, which is no sign-off."""
    signed = fake.decide(ask(fake), decision, authorization_type=authorization_type)
    assert verify(signed, secrets=fake.secret).human_authorized is authorized


BAD_ANSWERS: list[dict[str, Any]] = [
    {"decision": "maybe"},
    {"responder": " "},
    {"responder": None},
    {"comment": 5},
    {"channel": 5},
    {"fields": [1]},
    {"fields": {"x": float("nan")}},
    {"comment": "\ud800"},
    {"authorization_type": "robot"},
]


@pytest.mark.parametrize("bad", BAD_ANSWERS, ids=repr)
def test_an_unusable_answer_leaves_the_pause_waiting(fake: FakeLoopPause, bad: Any) -> None:
    """A refused decision decides nothing."""
    pause_id = ask(fake)
    with pytest.raises(LoopPauseRequestError) as refused:
        fake.decide(pause_id, **bad)
    assert refused.value.status_code == 400
    assert fake.get(pause_id)["status"] == "pending"


@pytest.mark.parametrize("scheme", ["hmac", "ed25519"])
@pytest.mark.parametrize("status", ["expired", "timed_out"])
def test_an_ended_pause_shows_a_signed_notice(scheme: Any, status: str) -> None:
    """Expiry and timeout are genuine denials without a decision."""
    fake = FakeLoopPause(scheme=scheme)
    pause_id = ask(fake)
    notice = fake.expire(pause_id) if status == "expired" else fake.time_out(pause_id)
    assert fake.get(pause_id) == notice
    assert "decision" not in notice
    assert verify(notice, **keys_of(fake)).decision == status


def test_a_pause_times_out_by_the_clock(fake: FakeLoopPause, clock: Clock) -> None:
    """At its deadline, and not before, a pause is over, whoever looks first."""
    pause_id = ask(fake, timeout_hours=0.5)
    clock.advance(minutes=29, seconds=59)
    assert fake.get(pause_id)["status"] == "pending"
    clock.advance(seconds=1)
    with pytest.raises(LoopPauseRequestError, match="timed_out"):
        fake.decide(pause_id)


def test_tick_says_what_it_changed_and_when_it_is_needed_next(
    fake: FakeLoopPause, clock: Clock
) -> None:
    """Due pauses are ended once each; answered ones are left alone."""
    answered, due = ask(fake, timeout_hours=1), ask(fake, timeout_hours=1)
    later = ask(fake, timeout_hours=2)
    fake.decide(answered)
    clock.advance(hours=1)
    assert fake.tick() == [due]
    assert fake.tick() == []
    assert fake.next_due() == START + timedelta(hours=2)
    fake.expire(later)


@pytest.mark.parametrize(
    "fallback, decision", [("auto_approve", "approved"), ("auto_reject", "rejected")]
)
def test_a_fallback_answers_for_nobody(
    fake: FakeLoopPause, clock: Clock, fallback: str, decision: str
) -> None:
    """After `after_hours` the configured default answers, and says that no person did."""
    pause_id = ask(fake, escalation={"after_hours": 0.001, "fallback_action": fallback})
    clock.advance(seconds=4)
    proof = verify(fake.get(pause_id), secrets=fake.secret)
    assert (proof.decision, proof.authorization_type) == (decision, "system_fallback")
    assert (proof.human_response, proof.responder) == (False, "system")
    assert not proof.human_authorized


def test_an_escalation_to_a_person_comes_before_the_fallback(
    fake: FakeLoopPause, clock: Clock
) -> None:
    """With `escalate_to` the question goes on first; the fallback answers at the timeout."""
    escalation = {"after_hours": 1, "escalate_to": "boss@x", "fallback_action": "auto_reject"}
    pause_id = ask(fake, timeout_hours=4, escalation=escalation)
    clock.advance(hours=1)
    assert fake.tick() == [pause_id]
    assert fake.document(pause_id)["escalated_at"] == "2026-11-22T11:00:00.000Z"
    assert fake.get(pause_id)["status"] == "pending"
    clock.advance(hours=3)
    assert fake.get(pause_id)["decision"] == "rejected"


def test_an_escalation_alone_times_out(fake: FakeLoopPause, clock: Clock) -> None:
    """Without a fallback nobody answers for anybody."""
    pause_id = ask(fake, timeout_hours=4, escalation={"after_hours": 1, "escalate_to": "b@x"})
    clock.advance(hours=4)
    assert fake.get(pause_id)["status"] == "timed_out"


def test_one_of_many_threads_decides(fake: FakeLoopPause) -> None:
    """Of thirty-two decisions at once exactly one is taken."""
    pause_id, barrier = ask(fake), threading.Barrier(32)

    def decide(index: int) -> bool:
        barrier.wait(10)
        try:
            fake.decide(pause_id, responder=f"r{index}")
        except LoopPauseRequestError:
            return False
        return True

    with ThreadPoolExecutor(32) as threads:
        assert sum(threads.map(decide, range(32))) == 1


def test_listeners_hear_of_every_change(fake: FakeLoopPause) -> None:
    """A listener gets the document after it was opened, answered and noted on."""
    heard: list[str] = []
    fake.listeners.append(lambda document: heard.append(document["status"]))
    pause_id = ask(fake)
    fake.decide(pause_id)
    fake.note(pause_id, delivery={"state": "delivered"})
    assert heard == ["pending", "responded", "responded"]
    assert fake.document(pause_id)["notes"] == {"delivery": {"state": "delivered"}}


# -- HTTP ------------------------------------------------------------------------------------


def test_create_over_http_is_201_and_its_repetition_200(fake: FakeLoopPause) -> None:
    """The status tells a new pause from one that was there."""
    replies = [post(fake, "/v1/pauses", question(), **{"idempotency-key": "k"}) for _ in range(2)]
    assert [reply.status for reply in replies] == [201, 200]
    assert replies[0].json() == replies[1].json()


def test_get_over_http_is_exactly_the_signed_proof(fake: FakeLoopPause) -> None:
    """Nothing unsigned stands beside the members of a proof."""
    pause_id = ask(fake)
    signed = post(
        fake,
        f"/v1/pauses/{pause_id}/decision",
        {"decision": "approved", "responder": "bob", "comment": "ok", "fields": {"n": 1.50}},
    ).json()
    reply = fake.handle("GET", f"/v1/pauses/{pause_id}", BEARER)
    assert reply.json() == signed
    assert verify(reply.body, secrets=fake.secret).fields == {"n": 1.5}


def test_expire_over_http(fake: FakeLoopPause) -> None:
    """Scripts can end a pause without an answer."""
    reply = post(fake, f"/v1/pauses/{ask(fake)}/expire", b"")
    assert (reply.status, reply.json()["status"]) == (200, "expired")


def test_the_well_known_key_verifies_what_is_signed() -> None:
    """Anybody may fetch the key, without a bearer."""
    fake = FakeLoopPause(scheme="ed25519", api_key="key")
    reply = fake.handle("GET", "/.well-known/looppause-signing-key.json", {})
    verify(fake.decide(ask(fake)), public_keys=reply.json()["public_key"])


@pytest.mark.parametrize(
    "api_key, authorization, status",
    [
        (None, "Bearer anything", 404),
        (None, "bearer  anything", 404),
        (None, "", 401),
        (None, "Bearer ", 401),
        (None, "Basic abc", 401),
        ("right", "Bearer right", 404),
        ("right", "Bearer wrong", 401),
        ("right", "Bearer rïght", 401),
    ],
)
def test_the_bearer_is_checked(api_key: Any, authorization: str, status: int) -> None:
    """Without a key of its own the brain takes any bearer that is not empty."""
    fake = FakeLoopPause(api_key=api_key)
    reply = fake.handle("GET", "/v1/pauses/pause_x", {"Authorization": authorization})
    assert reply.status == status
    assert reply.json()["error"]["message"]


BAD_HTTP: dict[str, tuple[str, str, bytes, int]] = {
    "empty": ("POST", "/v1/pauses", b"", 400),
    "not json": ("POST", "/v1/pauses", b"{", 400),
    "not utf-8": ("POST", "/v1/pauses", b'{"a": "\xff"}', 400),
    "nan": ("POST", "/v1/pauses", b'{"a": NaN}', 400),
    "array": ("POST", "/v1/pauses", b"[]", 400),
    "deep": ("POST", "/v1/pauses", b'{"a":' * 50_000, 400),
    "too large": ("POST", "/v1/pauses", b" " * 300_000, 413),
    "no decision": ("POST", "/v1/pauses/x/decision", b"{}", 400),
    "odd member": ("POST", "/v1/pauses/x/decision", b'{"decision":"approved","who":"me"}', 400),
    "unhashable": ("POST", "/v1/pauses/x/decision", b'{"decision":{}}', 400),
    "no such pause": ("POST", "/v1/pauses/x/decision", b'{"decision":"approved"}', 404),
    "wrong method": ("DELETE", "/v1/pauses/x", b"", 405),
    "get the list": ("GET", "/v1/pauses", b"", 405),
    "odd verb": ("POST", "/v1/pauses/x/approve", b"", 404),
    "odd path": ("GET", "/v2", b"", 404),
    "a path that is none": ("GET", "/v1/pauses/%00/\n", b"", 404),
}


@pytest.mark.parametrize("case", BAD_HTTP)
def test_bad_requests_get_a_json_error(fake: FakeLoopPause, case: str) -> None:
    """Whatever comes in, the answer is a status that fits and a message."""
    method, path, body, status = BAD_HTTP[case]
    reply = fake.handle(method, path, BEARER, body)
    assert reply.status == status
    assert reply.json()["error"]["message"]


def test_fail_next_acts_out_an_outage(fake: FakeLoopPause) -> None:
    """The next requests fail as told, with `Retry-After`, and then all is well."""
    fake.fail_next(503, times=2, retry_after=0.5)
    replies = [fake.handle("GET", "/.well-known/looppause-signing-key.json", {}) for _ in range(3)]
    assert [reply.status for reply in replies] == [503, 503, 200]
    assert replies[0].headers["Retry-After"] == "0.5"


# -- without a network -----------------------------------------------------------------------


def test_an_httpx_client_reaches_the_brain(
    looppause: FakeLoopPause, looppause_http: httpx.Client
) -> None:
    """The fixtures give a client whose every request ends in the brain."""
    created = looppause_http.post("https://any.host/v1/pauses", json=question(), headers=BEARER)
    assert created.status_code == 201
    assert looppause.document(created.json()["pause_id"])["request"]["agent_id"] == "payer"


async def test_an_async_httpx_client_reaches_the_brain(looppause_ed25519: FakeLoopPause) -> None:
    """The asynchronous transport does the same."""
    pause_id = ask(looppause_ed25519)
    looppause_ed25519.decide(pause_id)
    async with httpx.AsyncClient(transport=looppause_ed25519.async_transport) as client:
        answer = await client.get(f"https://any.host/v1/pauses/{pause_id}", headers=BEARER)
    assert verify(answer.content, public_keys=looppause_ed25519.public_key).human_authorized


def test_the_published_client_works_without_a_network(
    fake: FakeLoopPause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """looppause 0.1.0 creates, waits and verifies over the transport."""
    client = looppause_client.LoopPauseClient("key", fake.secret, "https://any.host")
    monkeypatch.setattr(client, "_http", httpx.Client(transport=fake.transport))
    pause_id = client.create_pause(**question(), idempotency_key="k")
    assert client.create_pause(**question(), idempotency_key="k") == pause_id
    fake.decide(pause_id, comment="gut für uns")
    assert client.wait_for_proof(pause_id).human_authorized
