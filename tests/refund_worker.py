"""The flow that the receiver's processes resume under attack: each payment is a row."""

from __future__ import annotations

import os
import time

import psycopg
from crewai.flow import HumanFeedbackResult

from looppause_sdk import LoopPauseClient
from tests.refunds import refunding

__all__ = ["RefundFlow"]


def act(name: str, review: HumanFeedbackResult) -> str:
    """Pay: one row, ended when it is done. Takes as long as the test holds this pause."""
    pause_id = review.metadata["looppause"]["pause_id"]
    with psycopg.connect(os.environ["RESUMER_DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute(
            "insert into ledger (name, pause_id, pid) values (%s, %s, %s) returning id",
            (name, pause_id, os.getpid()),
        ).fetchone()
        while connection.execute("select 1 from held where pause_id = %s", (pause_id,)).fetchone():
            time.sleep(0.02)
        connection.execute("update ledger set ended = true where id = %s", row)
    return name


RefundFlow = refunding(LoopPauseClient(), act, agent_id="attacked")
