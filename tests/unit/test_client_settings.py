"""What a client makes of its arguments and its environment."""

from __future__ import annotations

import inspect
import json
from typing import Any

import looppause_client
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from looppause_sdk import (
    AsyncLoopPauseClient,
    LoopPauseClient,
    LoopPauseConfigError,
    ProofInvalid,
    ProofMalformed,
)
from looppause_sdk._settings import DEFAULT_BASE_URL
from tests.vectors import PUBLIC_KEY, PUBLIC_KEYS, SECRET, SECRETS, VECTORS, Vector
from tests.vectors.signing import APPROVAL, ed25519_envelope, python_signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
ENV = {"LOOPPAUSE_API_KEY": "env_key", "LOOPPAUSE_SIGNING_SECRET": "env_secret"}


def _client(*args: Any, **options: Any) -> LoopPauseClient:
    with LoopPauseClient(*args, **{"env": {}, **options}) as client:
        return client


def _accepts(client: LoopPauseClient, signer: str | Ed25519PrivateKey) -> bool:
    signed = (
        python_signed(APPROVAL, signer)
        if isinstance(signer, str)
        else ed25519_envelope(APPROVAL, signer)
    )
    try:
        return client.parse_resume_proof(signed).human_authorized
    except ProofInvalid:
        return False


# -- where settings come from ------------------------------------------------------------------


def test_arguments_by_position_are_those_of_0_1_0() -> None:
    """Moving over from 0.1.0 is a change of imports."""
    client = _client("key", "secret", "http://localhost:8080/", 5.0)
    assert (client.api_key, client.signing_secret, client.base_url) == (
        "key", "secret", "http://localhost:8080",
    )  # fmt: skip


@pytest.mark.parametrize(
    "method", ["__init__", "create_pause", "wait_for_proof", "parse_resume_proof"]
)
@pytest.mark.parametrize("kind", [LoopPauseClient, AsyncLoopPauseClient])
def test_signatures_take_what_0_1_0_took(kind: type[Any], method: str) -> None:
    """Every parameter of the published client is still there, in its place and of its kind."""
    published = inspect.signature(getattr(looppause_client.LoopPauseClient, method)).parameters
    ours = inspect.signature(getattr(kind, method)).parameters
    places = {name: parameter.kind for name, parameter in published.items()}
    assert {name: ours[name].kind for name in published} == places
    positional = [
        name for name, how in places.items() if how is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert list(ours)[: len(positional)] == positional


def test_the_environment_fills_in() -> None:
    """Without arguments, the documented variables count."""
    client = _client(env={**ENV, "LOOPPAUSE_API_URL": "https://eu.looppause.example/"})
    assert (client.api_key, client.signing_secret) == ("env_key", "env_secret")
    assert client.base_url == "https://eu.looppause.example"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but variables need be set."""
    monkeypatch.setenv("LOOPPAUSE_API_KEY", "process_key")
    monkeypatch.setenv("LOOPPAUSE_SIGNING_SECRET", "process_secret")
    monkeypatch.delenv("LOOPPAUSE_API_URL", raising=False)
    client = _client(env=None)
    assert (client.api_key, client.base_url) == ("process_key", DEFAULT_BASE_URL)


def test_several_keys_may_be_valid_at_once() -> None:
    """While keys rotate, a proof by any of them is genuine."""
    env = {
        **ENV,
        "LOOPPAUSE_SIGNING_SECRETS": json.dumps(["old", "older"]),
        "LOOPPAUSE_PUBLIC_KEYS": json.dumps([PEM]),
    }
    client = _client(env=env)
    signers: list[str | Ed25519PrivateKey] = ["env_secret", "old", "older", KEY]
    assert all(_accepts(client, signer) for signer in signers)
    assert not _accepts(client, "nobody's")


def test_given_secrets_replace_the_environments() -> None:
    """A client trusts no secret its caller did not name, once the caller names any."""
    env = {**ENV, "LOOPPAUSE_SIGNING_SECRETS": '["old"]'}
    client = _client("key", "mine", signing_secrets=["mine_too"], env=env)
    assert [_accepts(client, key) for key in ("mine", "mine_too", "env_secret", "old")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_public_keys_alone_will_do() -> None:
    """A client of the Ed25519 scheme needs no secret, and has none to show."""
    client = _client("key", public_keys=[KEY.public_key(), PUBLIC_KEY])
    assert client.signing_secret is None
    assert _accepts(client, KEY)


def test_one_key_need_not_be_in_a_list() -> None:
    """A lone string is one key, not a list of letters."""
    client = _client("key", signing_secrets="whole", public_keys=PEM)
    assert _accepts(client, "whole")
    assert _accepts(client, KEY)
    assert not _accepts(client, "w")


def test_empty_variables_count_as_unset() -> None:
    """What a compose file passes on as empty is not there."""
    empty = dict.fromkeys(
        [
            "LOOPPAUSE_SIGNING_SECRETS",
            "LOOPPAUSE_PUBLIC_KEYS",
            "LOOPPAUSE_API_URL",
            "LOOPPAUSE_WEBHOOK_URL",
        ],
        "",
    )
    assert _client(env={**ENV, **empty}).base_url == DEFAULT_BASE_URL


# -- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, env, faults",
    [
        ({}, {}, ["LOOPPAUSE_API_KEY is missing", "there is no key to verify proofs"]),
        (
            {},
            {"LOOPPAUSE_API_KEY": ""},
            ["LOOPPAUSE_API_KEY is missing", "there is no key to verify proofs"],
        ),
        ({"api_key": ""}, ENV, ["api_key is missing"]),
        ({"api_key": "  "}, ENV, ["api_key is empty"]),
        ({"api_key": "key\n"}, ENV, ["api_key has white space around it"]),
        ({"api_key": "schlüssel"}, ENV, ["api_key holds characters"]),
        ({"api_key": "a\nb"}, ENV, ["api_key holds characters"]),
        ({"api_key": 5}, ENV, ["api_key must be a string"]),
        ({"api_key": "key"}, {}, ["LOOPPAUSE_SIGNING_SECRET or LOOPPAUSE_PUBLIC_KEYS"]),
        ({"signing_secret": ""}, ENV, ["signing_secret is empty"]),
        ({"signing_secret": " \t"}, ENV, ["signing_secret is empty"]),
        ({"signing_secret": "s\udc80"}, ENV, ["signing_secret is not text"]),
        ({"signing_secrets": ["good", ""]}, ENV, [r"signing_secrets\[1\] is empty"]),
        ({"signing_secrets": [None]}, ENV, [r"signing_secrets\[0\] must be a string"]),
        ({}, {**ENV, "LOOPPAUSE_SIGNING_SECRET": " "}, ["LOOPPAUSE_SIGNING_SECRET is empty"]),
        (
            {},
            {**ENV, "LOOPPAUSE_SIGNING_SECRETS": "a,b"},
            ["LOOPPAUSE_SIGNING_SECRETS must be a JSON array"],
        ),
        (
            {},
            {**ENV, "LOOPPAUSE_SIGNING_SECRETS": '["a", 5]'},
            ["LOOPPAUSE_SIGNING_SECRETS must be a JSON array"],
        ),
        (
            {},
            {**ENV, "LOOPPAUSE_SIGNING_SECRETS": '["a", ""]'},
            [r"LOOPPAUSE_SIGNING_SECRETS\[1\] is empty"],
        ),
        (
            {},
            {**ENV, "LOOPPAUSE_PUBLIC_KEYS": "[" * 100_000},
            ["LOOPPAUSE_PUBLIC_KEYS must be a JSON array"],
        ),
        (
            {},
            {**ENV, "LOOPPAUSE_PUBLIC_KEYS": '["?"]'},
            [r"LOOPPAUSE_PUBLIC_KEYS\[0\]: a public key cannot be read"],
        ),
        (
            {"public_keys": ["", 5]},
            ENV,
            [r"public_keys\[0\]: a public key cannot", r"public_keys\[1\] must be"],
        ),
        ({"base_url": "api.looppause.com"}, ENV, ["base_url must start with http"]),
        ({"base_url": "ftp://looppause.com"}, ENV, ["base_url must start with http"]),
        ({"base_url": ""}, ENV, ["base_url must start with http"]),
        ({"base_url": "http://[::1"}, ENV, ["base_url cannot be read as a URL"]),
        ({"base_url": "http://exa mple"}, ENV, ["base_url has a host or a port that cannot exist"]),
        ({"base_url": "http://localhost:99999"}, ENV, ["base_url has a host or a port"]),
        ({"base_url": 5}, ENV, ["base_url cannot be read as a URL"]),
        ({"base_url": "https://user:pass@x.example"}, ENV, ["base_url must not hold a user name"]),
        (
            {"base_url": "https://x.example?a=1"},
            ENV,
            ["base_url must not hold a user name, a query"],
        ),
        ({}, {**ENV, "LOOPPAUSE_API_URL": "localhost"}, ["LOOPPAUSE_API_URL must start with http"]),
        (
            {},
            {**ENV, "LOOPPAUSE_WEBHOOK_URL": "/hook"},
            ["LOOPPAUSE_WEBHOOK_URL must start with http"],
        ),
        ({"request_timeout": 0}, ENV, ["request_timeout must be a number of seconds"]),
        ({"request_timeout": float("nan")}, ENV, ["request_timeout must be"]),
        ({"request_timeout": None}, ENV, ["request_timeout must be"]),
        ({"max_attempts": 0}, ENV, ["max_attempts must be a whole number"]),
        ({"max_attempts": 2.5}, ENV, ["max_attempts must be a whole number"]),
        (
            {"signing_secret": " ", "base_url": "x", "public_keys": "?", "max_attempts": 0},
            {},
            [
                "LOOPPAUSE_API_KEY",
                "signing_secret",
                r"public_keys\[0\]",
                "base_url",
                "max_attempts",
            ],
        ),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("kind", [LoopPauseClient, AsyncLoopPauseClient])
def test_faults_are_named_at_construction(
    kind: type[Any], options: dict[str, Any], env: dict[str, str], faults: list[str]
) -> None:
    """A client that could not work is never made; the one error names every fault."""
    with pytest.raises(LoopPauseConfigError, match=".*; ".join(faults)) as caught:
        kind(**options, env=env)
    assert str(caught.value).startswith("the LoopPause client cannot start: ")
    assert str(caught.value).count(";") == len(faults) - 1


@pytest.mark.parametrize("secret", ["  blank around", "s3cret\n"])
def test_a_fault_does_not_repeat_the_secret(secret: str) -> None:
    """An error about a credential names the setting, never the value."""
    with pytest.raises(LoopPauseConfigError) as caught:
        _client("key", secret)
    assert secret.strip() not in str(caught.value)


# -- what shows --------------------------------------------------------------------------------


def test_no_repr_shows_a_secret() -> None:
    """A client and its parts can be printed and logged."""
    client = _client("lp_key", "one_secret", signing_secrets=["two_secret"], public_keys=PUBLIC_KEY)
    shown = f"{client!r} {client._settings!r} {client._protocol!r}"
    assert "https://api.looppause.com" in shown
    assert not any(secret in shown for secret in ("lp_key", "one_secret", "two_secret"))


# -- proofs ------------------------------------------------------------------------------------


@pytest.fixture(params=[LoopPauseClient, AsyncLoopPauseClient], scope="module")
def client(request: pytest.FixtureRequest) -> Any:
    """Either kind of client, with every key of the table."""
    return request.param("key", signing_secrets=SECRETS, public_keys=PUBLIC_KEYS, env={})


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_parse_resume_proof_holds_every_vector(client: Any, vector: Vector) -> None:
    """Both clients verify with all of their keys, exactly as `verify` does."""
    if vector.expect == "valid":
        proof = client.parse_resume_proof(vector.body)
        assert proof.human_authorized is vector.human_authorized
    else:
        with pytest.raises(ProofInvalid if vector.expect == "invalid" else ProofMalformed):
            client.parse_resume_proof(vector.body)


def test_a_secret_of_0_1_0_signs_for_this_client() -> None:
    """A proof the published client would accept is accepted."""
    proof = python_signed(APPROVAL, SECRET)
    assert looppause_client.verify_signature(proof, SECRET)
    assert _client("key", SECRET).parse_resume_proof(proof).human_authorized
