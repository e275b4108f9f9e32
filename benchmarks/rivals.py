"""How fast paused executions go on once they are decided: Resumer, `langgraph dev` and DBOS.

    python3 -m uv run benchmarks/rivals.py --executions 300 --rounds 3

So many executions are paused on each side. Then every one is sent its decision, 32 at once, and the
time counts from the first that is sent until the last has run the step behind the gate. In turns,
all three up at once, over one PostgreSQL of its own with fsync; ratios are the medians of those of
the rounds. Each in one process, as its documentation sets it up:

- `resumer serve` as shipped. Signed proofs are posted to its webhook: verified, on disk before they
  are answered, each resumed once from the checkpoints in PostgreSQL, by a queue that survives.
- `langgraph dev` (https://docs.langchain.com/langsmith/add-human-in-the-loop, and for the node
  https://docs.langchain.com/oss/python/langgraph/interrupts): `client.runs.wait(thread_id, "agent",
  command=Command(resume=...))` of langgraph-sdk. IN MEMORY: threads, queue and checkpoints are gone
  if the process is killed, and nobody checks who decided.
- DBOS (https://docs.dbos.dev/python/tutorials/workflow-communication, and for the client
  https://docs.dbos.dev/python/reference/client): a workflow waits in `DBOS.recv`, `DBOSClient.send`
  from another process. Durable in PostgreSQL. Each paused workflow keeps a thread of the process
  and is in memory; after a restart all are started again. Nobody checks who decided.

The other two are installed into environments of their own. Writes `rivals.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.rivals_sides import IN_FLIGHT, dbos, langgraph, ours
from resumer.embedded import embedded_postgres


async def main(options: argparse.Namespace) -> None:
    """All three up at once, in turns: what slows the machine down slows each."""
    async with AsyncExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        database = stack.enter_context(embedded_postgres(folder / "postgres"))
        own = database.replace("/resumer?", "/dbos?")
        sides = {
            "langgraph_dev": await stack.enter_async_context(langgraph(folder)),
            "dbos": await stack.enter_async_context(dbos(folder, own)),
            "resumer": await stack.enter_async_context(ours(folder, database)),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for round_ in range(-1, options.rounds):
            for name, side in sides.items():
                count = options.executions if round_ >= 0 else IN_FLIGHT
                rate = await side.rate([f"{name}-{round_}-{number}" for number in range(count)])
                if round_ >= 0:  # the first warms up
                    rates[name].append(rate)
    report("rivals", _result(rates, options))


def _result(rates: dict[str, list[float]], options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {
        "executions": options.executions,
        "rounds": options.rounds,
        "in_flight": IN_FLIGHT,
    }
    for name, measured in rates.items():
        pairs = zip(rates["resumer"], measured, strict=True)
        result[name] = {
            "per_second": round(statistics.median(measured), 1),
            "rounds": [round(rate, 1) for rate in measured],
            "resumer_is_times": round(statistics.median(own / other for own, other in pairs), 2),
        }
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(main(parser.parse_args()))
