"""Addresses of LangGraph servers, and which key goes where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resumer.errors import SettingsError
from resumer.remote_settings import RemoteAddress, headers_by_server
from resumer.settings import Settings

ENV = {"RESUMER_DATABASE_URL": "postgresql://localhost/r", "LOOPPAUSE_SIGNING_SECRET": "s"}
ONE = {"RESUMER_GRAPHS": "agent=https://one.example#agent"}
TWO = {"RESUMER_GRAPHS": "a=https://one.example#agent,b=https://two.example/api/#b,c=agents:graph"}


def faults_of(env: dict[str, str], **given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**ENV, **env}, **given)
    return str(caught.value)


def test_an_address_in_the_environment_is_a_remote_graph() -> None:
    """Addresses stand among module paths, with ports and paths; the others stay local."""
    settings = Settings.from_env({**ENV, **TWO})
    assert settings.local_graphs == {"c": "agents:graph"}
    assert sorted(settings.remote_graphs) == ["a", "b"]
    address = RemoteAddress.of("HTTP://Host:2024/Base/#my agent")
    assert address == RemoteAddress("http://host:2024/Base", "my agent")


@pytest.mark.parametrize(
    "address, fault",
    [
        ("https://one.example", "must end with #"),
        ("https://one.example#", "must end with #"),
        ("https://#agent", "name a host"),
        ("https://me:secret-word@one.example#agent", "no user, password or query"),
        ("https://one.example?key=secret-word#agent", "no user, password or query"),
        ("https://[one.example#agent", "address of 'agent'"),
    ],
)
def test_a_faulty_address_is_refused_and_not_repeated(address: str, fault: str) -> None:
    """The reason says what an address has to have, and nothing that may be secret."""
    told = faults_of({}, graphs={"agent": address})
    assert fault in told
    assert "secret-word" not in told


@pytest.mark.parametrize(
    "env, fault",
    [
        ({**TWO, "RESUMER_REMOTE_KEY": "secret-word"}, "RESUMER_REMOTE_KEY is for one server"),
        (
            {**ONE, "RESUMER_REMOTE_KEYS": '{"https://on.example": "secret-word"}'},
            "RESUMER_REMOTE_KEYS names a server",
        ),
        (
            {**ONE, "RESUMER_REMOTE_HEADERS": '{"https://on.example": {"a": "secret-word"}}'},
            "RESUMER_REMOTE_HEADERS names a server",
        ),
        ({**ONE, "RESUMER_REMOTE_KEYS": '["secret-word"]'}, "must be a JSON object"),
        (
            {**ONE, "RESUMER_REMOTE_HEADERS": '{"https://one.example": "secret-word"}'},
            "JSON object",
        ),
        ({**ONE, "RESUMER_REMOTE_KEY": "secret-wörd"}, "no header can hold"),
        ({"RESUMER_FLOWS": "flow=https://one.example#flow"}, "flows run nowhere else"),
    ],
)
def test_keys_that_would_go_astray_are_refused(env: dict[str, str], fault: str) -> None:
    """One key for several servers, a key for none of them, and what no header can hold."""
    told = faults_of(env)
    assert fault in told
    assert "secret-w" not in told


def test_each_server_gets_its_own_key_and_headers() -> None:
    """No server is sent what is for another, and no repr shows any of it."""
    keys = {"https://one.example": "first-key", "https://TWO.example/api": "second-key"}
    headers = {"https://two.example/api/": {"x-tenant": "a-tenant"}}
    settings = Settings.from_env(
        {
            **ENV,
            **TWO,
            "RESUMER_REMOTE_KEYS": json.dumps(keys),
            "RESUMER_REMOTE_HEADERS": json.dumps(headers),
        }
    )
    sent = headers_by_server(settings.graphs, None, settings.remote_keys, settings.remote_headers)
    assert sent == {
        "https://one.example": {"x-api-key": "first-key"},
        "https://two.example/api": {"x-tenant": "a-tenant", "x-api-key": "second-key"},
    }
    assert not any(text in repr(settings) for text in ("first-key", "second-key", "a-tenant"))


def test_a_single_key_is_for_the_only_server() -> None:
    """It stands in a setting of its own."""
    settings = Settings.from_env({**ENV, **ONE, "RESUMER_REMOTE_KEY": "the-key"})
    assert headers_by_server(settings.graphs, settings.remote_key, {}, {}) == {
        "https://one.example": {"x-api-key": "the-key"}
    }
