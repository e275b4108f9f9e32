"""Who may deliver: the last address that no proxy of ours has, and nothing a stranger wrote."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.requests import Request

from resumer.addresses import Senders, client_of
from resumer.errors import SettingsError
from resumer.settings import Settings

PROXIES = tuple(map(ip_network, ["10.0.0.0/8", "::1"]))
ENOUGH = {"RESUMER_DATABASE_URL": "postgresql://db/agents", "LOOPPAUSE_SIGNING_SECRET": "a-secret"}


@pytest.mark.parametrize(
    "peer, forwarded, client",
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: not believed
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], None),
        ("10.0.0.1", ["203.0.113.9,"], None),
        ("10.0.0.1", [""], None),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], None),
        ("testclient", [], None),
    ],
)
def test_whose_request_it_is(peer: str, forwarded: list[str], client: str | None) -> None:
    """What proxies of ours have added counts, from the end to the first stranger's."""
    found = client_of(peer, forwarded, PROXIES)
    assert (found and str(found)) == client


@pytest.mark.parametrize(
    "allowed, peer, admitted",
    [
        ([], "203.0.113.9", True),
        (["203.0.113.0/24"], "203.0.113.9", True),
        (["203.0.113.9", "2001:db8::/32"], "2001:db8::7", True),
        (["203.0.113.0/24"], "198.51.100.1", False),
        (["0.0.0.0/0"], "a unix socket", False),
    ],
)
def test_who_is_admitted(allowed: list[str], peer: str, admitted: bool) -> None:
    """Everybody without a list; with one, those whose address is known and on it."""
    scope = {"type": "http", "headers": [], "client": (peer, 1)}
    assert Senders.of(allowed, []).admit(Request(scope)) is admitted


@pytest.mark.parametrize("text", ["203.0.113.9/24", "example.com", "*", "10.0.0"])
@pytest.mark.parametrize("variable", ["RESUMER_ALLOWED_IPS", "RESUMER_TRUSTED_PROXIES"])
def test_what_is_no_network_is_refused_at_the_start(variable: str, text: str) -> None:
    """A list that cannot be read must not become one that admits everybody."""
    with pytest.raises(SettingsError, match=f"{variable}: '.*' is no address and no network"):
        Settings.from_env({**ENOUGH, variable: f"10.0.0.1, {text}"})


def test_a_variable_that_is_empty_is_no_list() -> None:
    """It counts as one that is not set, as everywhere."""
    assert Settings.from_env({**ENOUGH, "RESUMER_ALLOWED_IPS": "  "}).allowed_ips == ()


def test_a_list_that_got_lost_admits_nobody() -> None:
    """Where only the commas are left, the service does not start."""
    with pytest.raises(SettingsError, match="RESUMER_ALLOWED_IPS names nothing"):
        Settings.from_env({**ENOUGH, "RESUMER_ALLOWED_IPS": " , "})
