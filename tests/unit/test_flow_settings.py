"""Registering flows: the same syntax as for graphs, beside them or without them."""

from __future__ import annotations

import pytest

from resumer import Resumer
from resumer.errors import SettingsError
from resumer.settings import Settings

ENV = {"DATABASE_URL": "postgresql://db/agents", "LOOPPAUSE_SIGNING_SECRET": "secret"}


def test_flows_come_from_the_environment() -> None:
    """Several, each by the agent id of its gates."""
    env = {**ENV, "RESUMER_FLOWS": "refunds=app.flows:RefundFlow, *=other.py:Flow"}
    settings = Settings.from_env(env)
    assert settings.flows == {"refunds": "app.flows:RefundFlow", "*": "other.py:Flow"}
    assert settings.graphs == {}


def test_a_fault_names_where_it_stands() -> None:
    """The variable, or the option of the command."""
    with pytest.raises(SettingsError, match="RESUMER_FLOWS: 'refunds=app' is not"):
        Settings.from_env({**ENV, "RESUMER_FLOWS": "refunds=app"})
    with pytest.raises(SettingsError, match="--flow: 'refunds=app' is not"):
        Settings.graphs_from("refunds=app", "--flow")


async def test_a_worker_needs_a_graph_or_a_flow(database_url: str) -> None:
    """With neither it would take answers and do nothing about them."""
    resumer = Resumer(database_url=database_url, signing_secrets=["secret"])
    with pytest.raises(SettingsError, match="RESUMER_FLOWS for flows"):
        async with resumer.running():
            pass
