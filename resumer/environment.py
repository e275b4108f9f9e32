"""Reading the environment: text to values, with every fault noted instead of raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["EnvironmentReader"]

T = TypeVar("T")


@dataclass
class EnvironmentReader:
    """The environment, and what is wrong with it: all faults are gathered in `faults`."""

    env: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """The settings that are there, under the names of the fields of `Settings`."""
        secrets = [self.text("LOOPPAUSE_SIGNING_SECRET"), *self.array("LOOPPAUSE_SIGNING_SECRETS")]
        hook_secrets = [self.text("RESUMER_HOOK_SECRET"), *self.array("RESUMER_HOOK_SECRETS")]
        values = {
            "database_url": self.text("RESUMER_DATABASE_URL") or self.text("DATABASE_URL"),
            "checkpoint_url": self.text("RESUMER_CHECKPOINT_URL"),
            "graphs": self.graphs("RESUMER_GRAPHS"),
            "flows": self.graphs("RESUMER_FLOWS"),
            "signing_secrets": tuple(dict.fromkeys(filter(None, secrets))),
            "public_keys": self.array("LOOPPAUSE_PUBLIC_KEYS"),
            "api_key": self.text("LOOPPAUSE_API_KEY") or None,
            "api_url": self.text("LOOPPAUSE_API_URL") or None,
            "read_tokens": self.array("RESUMER_READ_TOKENS"),
            "act_tokens": self.array("RESUMER_ACT_TOKENS"),
            "metrics_public": self.flag("RESUMER_METRICS_PUBLIC"),
            "hook_url": self.text("RESUMER_HOOK_URL") or None,
            "hook_secrets": tuple(dict.fromkeys(filter(None, hook_secrets))),
            "hook_events": self.words("RESUMER_HOOK_EVENTS") or None,
            "hash_responders": self.flag("RESUMER_HASH_RESPONDERS"),
        }
        numbers: dict[str, Callable[[str], Any]] = {
            "max_body_bytes": _whole_number,
            "concurrency": _whole_number,
            "settle_seconds": _number,
            "early_hours": _number,
            "drain_seconds": _number,
            "stall_seconds": _number,
            "reconcile_seconds": _number,
            "retry_delays": _json_numbers,
        }
        for name, convert in numbers.items():
            variable = f"RESUMER_{name.upper()}"
            if text := self.text(variable):
                values[name] = self._convert(variable, text, convert)
        return {name: value for name, value in values.items() if value is not None}

    def text(self, variable: str) -> str:
        """The variable without white space around it; empty if it is not set."""
        return self.env.get(variable, "").strip()

    def flag(self, variable: str) -> bool | None:
        """1, true, yes or on; 0, false, no or off; None if it is not set."""
        text = self.text(variable)
        return self._convert(variable, text, _yes_or_no) if text else None

    def words(self, variable: str) -> tuple[str, ...]:
        """Words separated by commas."""
        return tuple(filter(None, map(str.strip, self.text(variable).split(","))))

    def array(self, variable: str) -> tuple[str, ...]:
        """A JSON array of strings."""
        text = self.text(variable)
        return self._convert(variable, text, _json_strings) or () if text else ()

    def graphs(self, variable: str) -> dict[str, str]:
        """`name=module:attribute`, several separated by commas."""
        graphs: dict[str, str] = {}
        for pair in filter(None, map(str.strip, self.text(variable).split(","))):
            name, path = self._graph(variable, pair)
            if name in graphs:
                self.faults.append(f"{variable}: {name!r} stands twice: one graph for each agent")
            graphs[name] = path
        return graphs

    def _graph(self, variable: str, pair: str) -> tuple[str, str]:
        name, path = map(str.strip, pair.split("=", 1)) if "=" in pair else ("*", pair)
        module, _, attribute = path.rpartition(":")
        if not (name and module and attribute):
            self.faults.append(f"{variable}: {pair!r} is not name=module:attribute")
        return name, path

    def _convert(self, variable: str, text: str, convert: Callable[[str], T]) -> T | None:
        try:
            return convert(text)
        except ValueError as error:
            self.faults.append(f"{variable}: {error}")
            return None


def _json_strings(text: str) -> tuple[str, ...]:
    return _json_array(text, _is_text, 'strings, e.g. ["first","second"]')


def _json_numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, _json_array(text, _is_duration, "seconds, e.g. [1, 5, 30]")))


def _json_array(text: str, accepts: Callable[[Any], bool], of_what: str) -> tuple[Any, ...]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError:  # which holds the text, and that may be a secret
        values = None
    if not isinstance(values, list) or not all(map(accepts, values)):
        raise ValueError(f"must be a JSON array of {of_what}")
    return tuple(values)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number, e.g. 10") from None


def _yes_or_no(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be 1 or 0")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number, e.g. 30") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
