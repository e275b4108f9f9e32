"""`resumer pauses` and `resumer retry`, over a database with a parked pause in it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

from tests import agents
from tests.integration.conftest import Rig


async def _resumer(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "resumer", *arguments, "--database-url", rig.url]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
    )


async def test_a_parked_pause_is_listed_and_taken_up_again(rig: Rig) -> None:
    """What is parked is listed with its reason; retried from the shell, it goes through."""
    broken = [True]

    def pay(state: Any) -> dict[str, Any]:
        if broken:
            raise RuntimeError("the bank is gone")
        return rig.ledger.pay(state)

    graph = agents.payment_agent(rig.client(), pay)
    resumer = await rig.receiver({"procurement": graph}, retry_delays=())
    [pause_id] = await rig.hibernate(graph, "t1")
    await rig.deliver(resumer, rig.looppause.decide(pause_id, comment="between us"))
    await rig.until_state(pause_id, "parked")

    shown = await _resumer(rig, "pauses", "--state", "parked")
    assert (shown.returncode, pause_id in shown.stdout) == (0, True)
    assert "the bank is gone" in shown.stdout
    [row] = map(json.loads, (await _resumer(rig, "pauses", "--json")).stdout.splitlines())
    assert (row["state"], row["reason_code"], row["thread_id"]) == ("parked", "raised", "t1")
    assert "between us" not in json.dumps(row)

    broken.clear()
    again = await _resumer(rig, "retry", pause_id, "pause_unknown")
    assert again.returncode == 1
    assert f"{pause_id} is taken up again" in again.stdout
    assert "pause_unknown is neither parked nor failed" in again.stderr
    await rig.until_state(pause_id, "resumed")
    assert len(rig.ledger.payments) == 1
    assert "No pauses." in (await _resumer(rig, "pauses", "--state", "parked")).stdout


async def test_retry_wants_to_know_what(rig: Rig) -> None:
    """Neither ids nor --all-parked, or both, is an error that says so."""
    for arguments in (["retry"], ["retry", "pause_1", "--all-parked"]):
        ended = await _resumer(rig, *arguments)
        assert ended.returncode == 2
        assert "--all-parked" in ended.stderr
