"""Proofs and keys: what may be believed, and which errors come out."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import looppause_client
import pytest

from looppause_sdk.testing import sign_proof
from tests.agents import RECIPIENTS
from tests.contract.claims import NOT_RAISED, Claims
from tests.contract.sdks import Sdk, environment
from tests.vectors import SECRET, vector_named
from tests.vectors.signing import APPROVAL

CLAIMS = Claims()


def _signed(sdk: Sdk, **members: Any) -> dict[str, Any]:
    """An approval with these members, None for one left out, genuinely signed."""
    payload = {**APPROVAL, **members}
    given = {name: value for name, value in payload.items() if value is not None}
    return sign_proof(given, secret=sdk.looppause.secret)


# -- nothing but the SDK's own errors ------------------------------------------------------------


@CLAIMS.breaks(
    cases={
        "none": (None, TypeError),
        "int": (7, TypeError),
        "list": (["a"], TypeError),
        "non-ascii": ("ß" * 64, TypeError),
    }
)
def signature_of_a_wrong_kind_is_refused(sdk: Sdk, signature: Any) -> None:
    """A message whose signature is no text, or no ASCII, is not genuine, and that is all."""
    with pytest.raises(sdk.package.LoopPauseDenied):
        sdk.client().parse_resume_proof({**APPROVAL, "signature": signature})


@CLAIMS.breaks(
    cases={
        "none": (None, AttributeError),
        "text": ("approved", AttributeError),
        "list": ([APPROVAL], AttributeError),
        "int": (1, AttributeError),
    }
)
def payload_that_is_no_object_is_refused(sdk: Sdk, payload: Any) -> None:
    """Whatever somebody posts to a webhook is a proof or a refusal."""
    with pytest.raises(sdk.package.LoopPauseDenied):
        sdk.client().parse_resume_proof(payload)


@CLAIMS.breaks(
    KeyError,
    cases={name: name for name in ("pause_id", "decision", "authorization_type")},
)
def missing_member_is_refused(sdk: Sdk, member: str) -> None:
    """Genuinely signed, but without a member that decides: no usable proof."""
    with pytest.raises(sdk.package.LoopPauseDenied):
        sdk.client().parse_resume_proof(_signed(sdk, **{member: None}))


@CLAIMS.breaks(saying="assert not True", cases={"false": "false", "no": "no", "list": ["nobody"]})
def human_response_is_true_or_it_is_no_person(sdk: Sdk, said: Any) -> None:
    """Only the JSON value true says that a person answered; the text "false" does not."""
    with suppress(sdk.package.LoopPauseDenied):
        proof = sdk.client().parse_resume_proof(_signed(sdk, human_response=said))
        assert not proof.human_authorized


# -- keys ----------------------------------------------------------------------------------------


@CLAIMS.breaks(
    looppause_client.LoopPauseDenied,
    "signature",
    cases={"text": "unicode_utf8_canonical", "numbers": "numbers_js_signed"},
)
def proof_signed_by_javascript_is_believed(sdk: Sdk, vector: str) -> None:
    """A JavaScript signer writes "für Müller" and 1e-7 as they are: genuine all the same."""
    sdk.looppause.secret = SECRET
    assert sdk.client().parse_resume_proof(vector_named(vector).parsed).human_authorized


@CLAIMS.breaks(saying="assert not True")
def empty_secret_has_signed_nothing(sdk: Sdk) -> None:
    """Anybody can sign with the empty secret."""
    assert not sdk.package.verify_signature(sign_proof(APPROVAL, secret=""), "")


@CLAIMS.breaks(NOT_RAISED)
def client_with_an_empty_secret_does_not_start(sdk: Sdk) -> None:
    """A variable that is set but empty is a mistake of the deployment's, said at its start."""
    variables = {"LOOPPAUSE_API_KEY": "key", "LOOPPAUSE_SIGNING_SECRET": ""}
    with environment(variables), pytest.raises(sdk.package.LoopPauseError):
        sdk.package.LoopPauseClient()


@CLAIMS.breaks(KeyError, "LOOPPAUSE_API_KEY")
def missing_environment_says_what_to_set(sdk: Sdk) -> None:
    """An error of the SDK's own says which variable to set."""
    missing = pytest.raises(sdk.package.LoopPauseError, match="set LOOPPAUSE_API_KEY")
    with environment({}), missing:
        sdk.package.LoopPauseClient()


# -- idempotency keys ----------------------------------------------------------------------------

EXACT = {
    "decimal": Decimal("9.90"),
    "datetime": datetime(2026, 11, 22, tzinfo=UTC),
    "uuid": UUID(int=7),
}


@CLAIMS.breaks(TypeError, "keys must be str", cases=EXACT)
def key_takes_it_as_the_name_of_a_member(sdk: Sdk, value: Any) -> None:
    """An action may be keyed by a date, an amount or an id; 0.1.0 takes these as values only."""
    key = sdk.package.stable_idempotency_key
    assert key({value: 1}) == key({value: 1}) != key({value: 2})


@CLAIMS.breaks(saying=r"assert '(idem_\w+)' != '\1'", cases=EXACT)
def key_tells_it_from_its_text(sdk: Sdk, value: Any) -> None:
    """Two actions that differ in what they hold are two questions."""
    key = sdk.package.stable_idempotency_key
    assert key(value) != key(str(value))


@CLAIMS.breaks(TypeError, "not JSON serializable", cases={**EXACT, "set": {1}})
def action_that_cannot_be_sent_is_said_to_be(sdk: Sdk, value: Any) -> None:
    """What JSON does not have is refused by the SDK's own error, and nobody is asked."""
    with pytest.raises(sdk.package.LoopPauseError):
        sdk.client().create_pause(
            agent_id="billing",
            action={"type": "payment", "details": value},
            recipients=RECIPIENTS,
            idempotency_key="key",
        )
    assert not sdk.looppause.pauses


@CLAIMS.breaks(saying=r"assert \d == 1")
def sets_have_one_key_in_every_process(sdk: Sdk) -> None:
    """A process that starts over asks with the same key, whatever its hash seed."""
    keys = {_key_elsewhere(sdk, seed) for seed in ("1", "2", "3")}
    assert len(keys) == 1


def _key_elsewhere(sdk: Sdk, seed: str) -> str:
    """The key of a set of words, in a process of its own."""
    module = sdk.package.stable_idempotency_key.__module__
    code = f"from {module} import stable_idempotency_key as key; print(key(set('abcdef')))"
    environ = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout


test_we_hold, test_published_breaks = CLAIMS.tests()
