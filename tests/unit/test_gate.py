"""A gate's own rules, without a graph: the question, what answers it, how it is judged."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import looppause_client
import looppause_langgraph
import pytest
from pydantic import BaseModel

from looppause_sdk import langgraph
from looppause_sdk.errors import (
    LoopPauseConfigError,
    NoCheckpointer,
    ProofError,
    ProofInvalid,
    ProofMalformed,
)
from looppause_sdk.gate import (
    Answer,
    Asked,
    Denial,
    GateResult,
    Question,
    action_digest,
    bind,
    denied,
    json_copy,
    judge,
)
from looppause_sdk.langgraph import make_interrupt_gate, make_polling_gate, route_on_gate
from looppause_sdk.proof import Proof, verify
from looppause_sdk.testing import FakeLoopPause, sign_proof
from tests.agents import client_of, gate
from tests.vectors.signing import APPROVAL

SECRET = "s"
ACTION = {"type": "payment", "description": "Pay 5", "details": {"amount": 5, "to": "ACME"}}
QUESTION = Question.build("billing", ACTION, "thread", "task", 0)
ASKED = Asked.of(QUESTION, "pause_1", "2026-11-23T10:00:00Z")


def _verify(body: Any) -> Proof:
    return verify(body, secrets=SECRET)


def _signed(**changed: Any) -> dict[str, Any]:
    return sign_proof({**APPROVAL, **changed}, secret=SECRET)


# -- the question ------------------------------------------------------------------------------


def test_a_question_is_the_same_in_every_execution() -> None:
    """Its key depends on nothing but what it was built from, in whatever order it came."""
    shuffled = {"details": {"to": "ACME", "amount": 5}, "description": "Pay 5", "type": "payment"}
    assert Question.build("billing", shuffled, "thread", "task", 0) == QUESTION
    assert QUESTION.idempotency_key == "idem_41f75237e301e5896852fd50b6885c30"


@pytest.mark.parametrize(
    "other",
    [
        Question.build("sales", ACTION, "thread", "task", 0),
        Question.build("billing", {**ACTION, "type": "refund"}, "thread", "task", 0),
        Question.build("billing", ACTION, "other thread", "task", 0),
        Question.build("billing", ACTION, "thread", "other visit", 0),
        Question.build("billing", ACTION, "thread", "task", 1),
        Question.build("billing", ACTION, "thread", "task", 0, [{"target": "bob"}]),
    ],
    ids=["agent", "action", "thread", "visit", "call", "recipients"],
)
def test_whatever_differs_makes_another_question(other: Question) -> None:
    """Agent, action, thread, visit, the call within it and the recipients all count."""
    assert other.idempotency_key != QUESTION.idempotency_key


def test_the_question_keeps_a_copy_of_the_action() -> None:
    """What the node does to its own dict later changes nothing that was asked."""
    action = {"type": "payment", "details": {"amount": 5}}
    question = Question.build("billing", action)
    action["details"]["amount"] = 1_000_000  # type: ignore[index]  # a dict, two lines above
    assert question.action == {"type": "payment", "details": {"amount": 5}}


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ({"amount": Decimal(5)}, "Decimal"),
        ({"due": date(2026, 11, 22)}, "date"),
        ({"amount": float("nan")}, "float values"),
        ({"amount": float("inf")}, "float values"),
        ({"tags": {"a"}}, "set"),
        ({"raw": b"x"}, "bytes"),
        ({"wei": 10**21}, "64 bits"),
        ({"nested": [{"wei": -(10**21)}]}, "64 bits"),
        ({1: "a", "1": "b"}, "twice"),
        ({"text": "\ud800"}, "surrogates"),
        (["payment"], "list"),
        ("payment", "str"),
        (None, "NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_action_that_json_cannot_hold_is_refused(action: Any, word: str) -> None:
    """The error names what is wrong with the action."""
    with pytest.raises(LoopPauseConfigError, match=rf"action.*{word}"):
        Question.build("billing", action)


def test_an_endless_action_is_refused() -> None:
    """A mapping that holds itself is no crash."""
    action: dict[str, Any] = {}
    action["again"] = action
    with pytest.raises(LoopPauseConfigError, match="action must be plain JSON"):
        Question.build("billing", action)


@pytest.mark.parametrize(
    ("value", "copied"),
    [
        (MappingProxyType({"a": MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
        ((1, 2.5, "ü"), [1, 2.5, "ü"]),
        ({"a": (True, None)}, {"a": [True, None]}),
        (2**64 - 1, 2**64 - 1),
    ],
    ids=["mapping", "tuple", "nested", "largest"],
)
def test_json_copy_writes_any_mapping_and_sequence(value: Any, copied: Any) -> None:
    """Read-only mappings and tuples become what JSON has for them."""
    assert json_copy("form", value) == copied


def test_json_copy_holds_plain_numbers_only() -> None:
    """A subclass of float would not survive a strict checkpoint."""
    assert type(json_copy("action", {"amount": 2.5})["amount"]) is float


@pytest.mark.parametrize("other", [{"amount": 5.5}, {"amount": "5"}, {"amount": 5, "x": None}, {}])
def test_the_digest_tells_actions_apart(other: dict[str, Any]) -> None:
    """Another value, type or member is another action."""
    assert action_digest(other) != action_digest({"amount": 5})


# -- the interrupt's value ---------------------------------------------------------------------


def test_the_interrupts_value_begins_with_the_pause_id() -> None:
    """The receiver's index reads the first member: nothing of the agent's stands before it."""
    assert list(ASKED.interrupt_value()) == [
        "pause_id",
        "agent_id",
        "action",
        "action_digest",
        "expires_at",
    ]


def test_an_older_or_newer_value_can_be_read() -> None:
    """A thread may have hibernated under another version of the SDK."""
    value = {**ASKED.interrupt_value(), "from_the_future": 1}
    del value["expires_at"]
    assert Asked.from_value(value) == Asked(
        pause_id="pause_1",
        agent_id="billing",
        action=ACTION,
        action_digest=QUESTION.action_digest,
        expires_at=None,
    )


def test_the_interrupt_says_who_was_asked_and_no_secret() -> None:
    """Channel and target: nothing else that was given, and of a web address its host."""
    given = [
        {"channel": "slack", "target": "#finance", "fallback_email": "cfo@example.com"},
        {"channel": "slack", "target": "https://bot:pw@hooks.example.com/services/T0/s3cret?x=1"},
    ]
    asked = Asked.of(QUESTION, "pause_1", None, given)
    value = asked.interrupt_value()
    assert value["recipients"] == [
        {"channel": "slack", "target": "#finance"},
        {"channel": "slack", "target": "https://hooks.example.com/…"},
    ]
    assert Asked.from_value(json.loads(json.dumps(value))).interrupt_value() == value


@pytest.mark.parametrize("given", [None, "finance", [], [7], [{}], {"channel": "slack"}])
def test_recipients_that_cannot_be_read_are_nobody(given: Any) -> None:
    """Whatever another version or another hand wrote there, the thread can be resumed."""
    value = {**ASKED.interrupt_value(), "recipients": given}
    assert "recipients" not in Asked.from_value(value).interrupt_value()


# -- binding an answer -------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, type[ProofError]]] = {
    "forged": (sign_proof(APPROVAL, secret="other"), ProofInvalid),
    "tampered": ({**_signed(decision="rejected"), "decision": "approved"}, ProofInvalid),
    "unsigned": (APPROVAL, ProofInvalid),
    "another pause's": (_signed(pause_id="pause_2"), ProofInvalid),
    "denial of another pause": ({"pause_id": "pause_2", "status": "expired"}, ProofInvalid),
    "denial with a decision": (
        {"pause_id": "pause_1", "status": "expired", "decision": "approved"},
        ProofInvalid,
    ),
    "status that ends nothing": ({"pause_id": "pause_1", "status": "responded"}, ProofInvalid),
    "status of no kind": ({"pause_id": "pause_1", "status": ["expired"]}, ProofInvalid),
    "pause id of no kind": ({"pause_id": 1, "status": "expired"}, ProofInvalid),
    "signed nonsense": (_signed(decision="maybe"), ProofMalformed),
    "true": (True, ProofMalformed),
    "none": (None, ProofMalformed),
    "number": (1, ProofMalformed),
    "list": ([_signed()], ProofMalformed),
    "empty": ("", ProofMalformed),
    "word": ("approved", ProofMalformed),
    "empty object": ({}, ProofInvalid),
}


@pytest.mark.parametrize(("answer", "error"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_answer_this_pause_is_refused(answer: Any, error: type[ProofError]) -> None:
    """Whatever the value, only one family of errors comes out."""
    with pytest.raises(error):
        bind(answer, "pause_1", _verify)


def test_a_genuine_proof_is_bound_in_every_form() -> None:
    """Mapping, text and bytes are one and the same answer."""
    text = json.dumps(_signed())
    bound = [bind(form, "pause_1", _verify) for form in (_signed(), text, text.encode())]
    assert [cast("Proof", found).responder for found in bound] == ["alice@acme.example"] * 3


@pytest.mark.parametrize("status", ["timed_out", "expired", "cancelled"])
def test_an_unsigned_denial_is_bound(status: str) -> None:
    """It can only close, so it needs no signature."""
    assert bind({"pause_id": "pause_1", "status": status}, "pause_1", _verify) == Denial(
        "pause_1", status
    )


# -- judging it --------------------------------------------------------------------------------

FALLBACK = {"authorization_type": "system_fallback", "human_response": False}
VERDICTS: dict[str, tuple[Answer, bool, str | None, str | None]] = {
    # The answer, require_human; then the halt_reason and the decision.
    "approved": (_verify(_signed()), True, None, "approved"),
    "rejected": (_verify(_signed(decision="rejected")), True, "rejected", "rejected"),
    "rejected, anybody may": (_verify(_signed(decision="rejected")), False, "rejected", "rejected"),
    "fallback": (_verify(_signed(**FALLBACK)), True, "system_fallback", "approved"),
    "fallback, anybody may": (_verify(_signed(**FALLBACK)), False, None, "approved"),
    "no human": (_verify(_signed(human_response=False)), True, "not_human", "approved"),
    "notice": (
        _verify(sign_proof({"pause_id": "pause_1", "status": "expired"}, secret=SECRET)),
        False,
        "expired",
        "expired",
    ),
    "denial": (Denial("pause_1", "timed_out"), True, "timed_out", "timed_out"),
    "denial, anybody may": (Denial("pause_1", "cancelled"), False, "cancelled", "cancelled"),
}


@pytest.mark.parametrize(
    ("answer", "require_human", "reason", "decision"), VERDICTS.values(), ids=VERDICTS
)
def test_the_verdict(
    answer: Answer, require_human: bool, reason: str | None, decision: str | None
) -> None:
    """Approved only where nothing speaks against it; else the reason says what did."""
    digest = ASKED.action_digest
    result = judge(answer, ASKED, current_digest=digest, require_human=require_human)
    assert (result["approved"], result["halt_reason"]) == (reason is None, reason)
    assert (result["decision"], result["pause_id"]) == (decision, "pause_1")


def test_an_approval_of_another_action_opens_nothing() -> None:
    """What was shown is reported; what would happen now was approved by nobody."""
    result = judge(_verify(_signed()), ASKED, current_digest="other", require_human=True)
    assert (result["approved"], result["halt_reason"]) == (False, "action_changed")
    assert (result["decision"], result["action"]) == ("approved", ACTION)


def test_a_rejection_stays_one_when_the_action_changed() -> None:
    """The first thing that speaks against it is the person's own no."""
    rejection = _verify(_signed(decision="rejected"))
    result = judge(rejection, ASKED, current_digest="other", require_human=True)
    assert result["halt_reason"] == "rejected"


def test_the_result_tells_all_about_the_decision() -> None:
    """Who, when, by which channel, with what words and fields."""
    proof = _verify(_signed(channel="slack", comment="für Müller", fields={"po": 7}))
    result = judge(proof, ASKED, current_digest=ASKED.action_digest, require_human=True)
    assert result == {
        "approved": True,
        "decision": "approved",
        "authorization_type": "human",
        "responder": "alice@acme.example",
        "responded_at": "2026-11-22T10:15:30Z",
        "channel": "slack",
        "comment": "für Müller",
        "fields": {"po": 7},
        "pause_id": "pause_1",
        "action": ACTION,
        "halt_reason": None,
    }


@pytest.mark.parametrize("reason", ["deadline", "invalid_proof"])
def test_without_an_answer_there_is_no_decision(reason: str) -> None:
    """The gate closed by itself: the result does not say that anybody decided."""
    result = denied(reason, ASKED)
    assert (result["approved"], result["decision"], result["halt_reason"]) == (False, None, reason)


def test_the_result_has_all_of_the_published_keys() -> None:
    """Code that read 0.1.0's result goes on."""
    published = set(looppause_langgraph.GateResult.__annotations__)
    assert published <= set(GateResult.__annotations__) == set(denied("deadline", ASKED))


# -- routing -----------------------------------------------------------------------------------


@dataclass
class DataState:
    looppause: Any = None


class ModelState(BaseModel):
    looppause: Any = None


FORMS: list[Callable[[Any], Any]] = [
    lambda result: {"looppause": result},
    lambda result: DataState(looppause=result),
    lambda result: ModelState(looppause=result),
]
ROUTES: list[tuple[Any, str]] = [
    ({"approved": True}, "approved"),
    (SimpleNamespace(approved=True), "approved"),
    ({"approved": False}, "halt"),
    ({"approved": "true"}, "halt"),
    ({"approved": 1}, "halt"),
    ({"approved": None}, "halt"),
    ({}, "halt"),
    (None, "halt"),
    (True, "halt"),
    ("approved", "halt"),
    ([], "halt"),
]


@pytest.mark.parametrize("form", FORMS, ids=["dict", "dataclass", "pydantic"])
@pytest.mark.parametrize(("result", "way"), ROUTES, ids=repr)
def test_only_true_itself_is_routed_to_approved(
    form: Callable[[Any], Any], result: Any, way: str
) -> None:
    """Whatever kind of state it is in."""
    assert route_on_gate()(form(result)) == way


@pytest.mark.parametrize(
    "state", [{}, DataState(), ModelState(), None, object()], ids=lambda state: type(state).__name__
)
def test_a_state_without_the_gates_key_halts(state: Any) -> None:
    """Default deny, also for a key that was misspelt."""
    assert route_on_gate("second")(state) == "halt"


# -- construction ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["make_interrupt_gate", "make_polling_gate", "route_on_gate"])
def test_every_published_call_is_accepted(name: str) -> None:
    """The parameters of 0.1.0 exist, by the same name, kind and default."""
    theirs = inspect.signature(getattr(looppause_langgraph, name)).parameters
    ours = inspect.signature(getattr(langgraph, name)).parameters
    for parameter in theirs.values():
        assert ours[parameter.name].kind is parameter.kind
        if parameter.default is not parameter.empty:
            assert ours[parameter.name].default == parameter.default
    added = [parameter for parameter in ours.values() if parameter.name not in theirs]
    assert all(parameter.default is not parameter.empty for parameter in added)


def test_resume_thread_is_called_as_in_the_published_version() -> None:
    """Graph, thread id, signed proof: by position or by name."""
    theirs = inspect.signature(looppause_langgraph.resume_thread).parameters
    for twin in (langgraph.resume_thread, langgraph.aresume_thread):
        assert list(inspect.signature(twin).parameters) == list(theirs)


@pytest.mark.parametrize("make", [make_interrupt_gate, make_polling_gate])
def test_the_published_client_is_refused_by_name(make: Any) -> None:
    """Half a move to the new package is an error at construction, not on the first payment."""
    old = looppause_client.LoopPauseClient("key", "secret")
    with pytest.raises(LoopPauseConfigError, match=r"not looppause_client\.LoopPauseClient"):
        make(old, agent_id="a", action_builder=dict, recipients=[])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"on_invalid": "open"}, "on_invalid"),
        ({"form": {"due": date(2026, 11, 22)}}, "form"),
        ({"metadata": {"tags": {"a"}}}, "metadata"),
        ({"recipients": [{"target": Decimal(1)}]}, "recipients"),
    ],
    ids=["on_invalid", "form", "metadata", "recipients"],
)
def test_settings_that_cannot_be_used_are_named(
    looppause: FakeLoopPause, settings: dict[str, Any], word: str
) -> None:
    """At construction, before anybody is asked."""
    with pytest.raises(LoopPauseConfigError, match=word):
        gate(client_of(looppause), **settings)


def test_an_interrupt_gate_called_by_hand_asks_nobody(looppause: FakeLoopPause) -> None:
    """Outside a graph there is nowhere to hibernate."""
    with pytest.raises(NoCheckpointer, match="inside a graph with a checkpointer"):
        gate(client_of(looppause))({"amount": 5})
    assert not looppause.pauses
