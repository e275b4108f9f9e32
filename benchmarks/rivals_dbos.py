"""What `rivals.py` has DBOS resume: `DBOS.recv`, and a step that tells it ran. Needs `dbos` alone.

rivals_dbos.py serve   starts a workflow for each key that it reads, until the input ends
rivals_dbos.py send    sends the decision to all keys of a line, so many at once
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import (  # type: ignore[import-not-found]  # has an environment of its own
    DBOS,
    DBOSClient,
    SetWorkflowID,
)

DATABASE = os.environ["DBOS_SYSTEM_DATABASE_URL"]
A_DAY = 86400.0
DECISION = {"decision": "approved", "responder": "alice@acme.example"}


@DBOS.workflow()  # type: ignore[untyped-decorator]  # as above
def approval(key: str) -> str:
    """Waits for a person's decision, as the tutorial's checkout waits for the payment."""
    decision: dict[str, Any] | None = DBOS.recv(timeout_seconds=A_DAY)
    if decision is None or decision["decision"] != "approved":
        return "halted"
    act(key)
    return "approved"


@DBOS.step()  # type: ignore[untyped-decorator]  # as above
def act(key: str) -> None:
    """What the decision guards."""
    told = os.open(os.environ["BENCH_TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(told, f"{key} {time.monotonic()}\n".encode())
    os.close(told)


def serve() -> None:
    """The application."""
    DBOS(config={"name": "procurement", "system_database_url": DATABASE})
    DBOS.launch()
    print("ready", flush=True)
    for line in sys.stdin:
        for key in line.split():
            with SetWorkflowID(key):
                DBOS.start_workflow(approval, key)
        print("started", flush=True)
    os._exit(0)  # what still waits would keep its thread


def send(at_once: int) -> None:
    """Whoever has the decisions."""
    client = DBOSClient(system_database_url=DATABASE)
    print("ready", flush=True)
    with ThreadPoolExecutor(at_once) as pool:
        for line in sys.stdin:
            keys = line.split()
            list(pool.map(client.send, keys, [DECISION] * len(keys)))
            print("sent", flush=True)
    client.destroy()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        send(int(sys.argv[2]))
