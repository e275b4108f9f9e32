"""What every benchmark ends with: the result as JSON on the screen, and beside the script."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["milliseconds", "percentile", "report"]

_TOLD = (
    "looppause-resumer",
    "langgraph",
    "langgraph-checkpoint-postgres",
    "procrastinate",
    "psycopg",
)


def report(name: str, result: Mapping[str, Any]) -> None:
    """Print the result, and write it to `<name>.json` with the machine and versions it is of."""
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}Z",
        "versions": {package: version(package) for package in _TOLD},
    }
    print(json.dumps(result, indent=2))
    text = json.dumps({"machine": machine, **result}, indent=2)
    Path(__file__).with_name(f"{name}.json").write_text(text + "\n", encoding="utf-8")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile of these times, and how many they are."""
    return {
        "p50": round(statistics.median(seconds) * 1000, 3),
        "p99": round(percentile(seconds, 0.99) * 1000, 3),
        "of": len(seconds),
    }
