"""The outgoing webhook's settings: what they may be, and every fault in words that help."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import standardwebhooks

from resumer.errors import SettingsError
from resumer.settings import Settings

ENOUGH = {"RESUMER_DATABASE_URL": "postgresql://db/agents", "LOOPPAUSE_SIGNING_SECRET": "a-secret"}
URL = "https://hooks.example.com/T000/hunter2"
GOOD = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(24))).decode().rstrip("=")

NO_SECRET = "RESUMER_HOOK_SECRET is missing"
NO_URL = "RESUMER_HOOK_SECRET is set and RESUMER_HOOK_URL is not"
BAD_SECRET = "a secret is whsec_ and the base64 of 24 to 64 bytes"
NOT_HTTPS = "http is for private networks alone"
NO_HOST = "RESUMER_HOOK_URL must start with https:// and name a host"
BAD_EVENTS = "RESUMER_HOOK_EVENTS: some of resumed, parked, failed"


def read(**env: str) -> Settings:
    return Settings.from_env({**ENOUGH, **env})


@pytest.mark.parametrize(
    "env, name, value",
    [
        ({}, "hook_url", None),
        ({}, "hook_events", ("resumed", "parked", "failed")),
        ({"RESUMER_HOOK_URL": URL, "RESUMER_HOOK_SECRET": GOOD}, "hook_url", URL),
        ({"RESUMER_HOOK_URL": URL, "RESUMER_HOOK_SECRET": GOOD}, "hook_secrets", (GOOD,)),
        (
            {
                "RESUMER_HOOK_URL": URL,
                "RESUMER_HOOK_SECRET": GOOD,
                "RESUMER_HOOK_SECRETS": f'["{OTHER}", "{GOOD}"]',
            },
            "hook_secrets",
            (GOOD, OTHER),
        ),
        ({"RESUMER_HOOK_EVENTS": " parked, failed ,"}, "hook_events", ("parked", "failed")),
        ({}, "hash_responders", False),
        ({"RESUMER_HASH_RESPONDERS": "1"}, "hash_responders", True),
        ({"RESUMER_HASH_RESPONDERS": "off"}, "hash_responders", False),
        ({}, "metrics_public", False),
        ({"RESUMER_METRICS_PUBLIC": "True"}, "metrics_public", True),
    ],
)
def test_the_environment_gives_each_setting(env: dict[str, str], name: str, value: Any) -> None:
    """A setting is what its variable says, or its default."""
    assert getattr(read(**env), name) == value


@pytest.mark.parametrize(
    "env, fault",
    [
        ({"RESUMER_HOOK_URL": URL}, NO_SECRET),
        ({"RESUMER_HOOK_SECRET": GOOD}, NO_URL),
        ({"RESUMER_HOOK_URL": URL, "RESUMER_HOOK_SECRET": "hunter2"}, BAD_SECRET),
        ({"RESUMER_HOOK_URL": URL, "RESUMER_HOOK_SECRET": "whsec_hunter2"}, BAD_SECRET),
        ({"RESUMER_HOOK_URL": URL, "RESUMER_HOOK_SECRET": "whsec_hunter2ü"}, BAD_SECRET),
        ({"RESUMER_HOOK_URL": URL, "RESUMER_HOOK_SECRET": "whsec_" + "A" * 96}, BAD_SECRET),
        ({"RESUMER_HOOK_URL": "hooks.example.com", "RESUMER_HOOK_SECRET": GOOD}, NO_HOST),
        ({"RESUMER_HOOK_URL": "https:///hunter2", "RESUMER_HOOK_SECRET": GOOD}, NO_HOST),
        ({"RESUMER_HOOK_URL": "https://[hunter2", "RESUMER_HOOK_SECRET": GOOD}, NO_HOST),
        ({"RESUMER_HOOK_URL": "https://h:hunter2/", "RESUMER_HOOK_SECRET": GOOD}, NO_HOST),
        ({"RESUMER_HOOK_EVENTS": "parked,hunter2"}, BAD_EVENTS),
        ({"RESUMER_HASH_RESPONDERS": "hunter2"}, "RESUMER_HASH_RESPONDERS: must be 1 or 0"),
        ({"RESUMER_METRICS_PUBLIC": "hunter2"}, "RESUMER_METRICS_PUBLIC: must be 1 or 0"),
    ],
)
def test_a_fault_says_what_to_do_and_repeats_nothing(env: dict[str, str], fault: str) -> None:
    """Whatever is wrong is named by its variable; what was given may be a secret."""
    with pytest.raises(SettingsError) as caught:
        read(**env)
    assert fault in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_secret_that_the_advice_makes_is_good() -> None:
    """What the message says to run gives a secret that is taken."""
    with pytest.raises(SettingsError) as caught:
        read(RESUMER_HOOK_URL=URL)
    [code] = str(caught.value).split('python3 -c "')[1].split('"')[:1]
    made: list[str] = []
    exec(code, {"print": made.append})  # noqa: S102  (our own text)
    assert read(RESUMER_HOOK_URL=URL, RESUMER_HOOK_SECRET=made[0]).hook_secrets == (made[0],)
    standardwebhooks.Webhook(made[0])


@pytest.mark.parametrize(
    "host",
    [
        "localhost:9000",
        "127.0.0.1",
        "10.1.2.3:80",
        "192.168.1.4",
        "[::1]:9000",
        "[fd00::1]",
        "notifier",
        "notifier.default.svc",
        "notifier.internal",
    ],
)
def test_http_is_taken_in_private_networks(host: str) -> None:
    """A neighbour in the same network needs no certificate."""
    assert read(RESUMER_HOOK_URL=f"http://{host}/x", RESUMER_HOOK_SECRET=GOOD).hook_url


@pytest.mark.parametrize(
    "host", ["example.com", "8.8.8.8", "[2001:4860:4860::8888]", "internal.example.com", "127.1"]
)
def test_http_is_refused_elsewhere(host: str) -> None:
    """What would cross the open internet readable is not sent."""
    with pytest.raises(SettingsError, match=NOT_HTTPS):
        read(RESUMER_HOOK_URL=f"http://{host}/x", RESUMER_HOOK_SECRET=GOOD)
