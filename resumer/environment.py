"""Reading the environment: text to values, with every fault noted instead of raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from looppause_sdk.secret_files import with_secret_files

from .graph_file import GraphFileError, is_graph_file, read_graph_file

__all__ = ["MOST_DAYS", "SECRETS", "EnvironmentReader"]

T = TypeVar("T")

MOST_DAYS = 36_500

# Each of them may be in a file that `<variable>_FILE` names.
SECRETS = (
    "RESUMER_DATABASE_URL",
    "DATABASE_URL",
    "RESUMER_CHECKPOINT_URL",
    "LOOPPAUSE_SIGNING_SECRET",
    "LOOPPAUSE_SIGNING_SECRETS",
    "LOOPPAUSE_PUBLIC_KEYS",
    "LOOPPAUSE_API_KEY",
    "RESUMER_READ_TOKENS",
    "RESUMER_ACT_TOKENS",
    "RESUMER_REMOTE_KEY",
    "RESUMER_REMOTE_KEYS",
    "RESUMER_REMOTE_HEADERS",
    "RESUMER_HOOK_URL",
    "RESUMER_HOOK_SECRET",
    "RESUMER_HOOK_SECRETS",
)


@dataclass
class EnvironmentReader:
    """The environment, and what is wrong with it: all faults are gathered in `faults`.

    `read` has the name of every variable that was looked for.
    """

    env: Mapping[str, str]
    faults: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.env, of_files = with_secret_files(self.env, SECRETS)
        self.faults += of_files

    def settings(self) -> dict[str, Any]:
        """The settings that are there, under the names of the fields of `Settings`."""
        secrets = [self.text("LOOPPAUSE_SIGNING_SECRET"), *self.array("LOOPPAUSE_SIGNING_SECRETS")]
        hook_secrets = [self.text("RESUMER_HOOK_SECRET"), *self.array("RESUMER_HOOK_SECRETS")]
        values = {
            "database_url": self.text("RESUMER_DATABASE_URL") or self.text("DATABASE_URL"),
            "checkpoint_url": self.text("RESUMER_CHECKPOINT_URL"),
            "graphs": self.graphs("RESUMER_GRAPHS"),
            "flows": self.graphs("RESUMER_FLOWS"),
            "remote_key": self.text("RESUMER_REMOTE_KEY") or None,
            "remote_keys": self.table("RESUMER_REMOTE_KEYS", _is_text),
            "remote_headers": self.table("RESUMER_REMOTE_HEADERS", _is_texts),
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
            "allowed_ips": self.words("RESUMER_ALLOWED_IPS"),
            "trusted_proxies": self.words("RESUMER_TRUSTED_PROXIES"),
            "hash_responders": self.flag("RESUMER_HASH_RESPONDERS"),
            "audit_dir": self.text("RESUMER_AUDIT_DIR") or None,
            "retention_without_export": self.flag("RESUMER_RETENTION_WITHOUT_EXPORT"),
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
            "retention_days": _days,
        }
        for name, convert in numbers.items():
            variable = f"RESUMER_{name.upper()}"
            if text := self.text(variable):
                values[name] = self._convert(variable, text, convert)
        return {name: value for name, value in values.items() if value is not None}

    def text(self, variable: str) -> str:
        """The variable without white space around it; empty if it is not set."""
        self.read.add(variable)
        return self.env.get(variable, "").strip()

    def flag(self, variable: str) -> bool | None:
        """1, true, yes or on; 0, false, no or off; None if it is not set."""
        text = self.text(variable)
        return self._convert(variable, text, _yes_or_no) if text else None

    def words(self, variable: str) -> tuple[str, ...]:
        """Words separated by commas. Commas alone are a list that got lost: no list is meant."""
        text = self.text(variable)
        found = tuple(filter(None, map(str.strip, text.split(","))))
        if text and not found:
            self.faults.append(f"{variable} names nothing: name something, or unset it")
        return found

    def array(self, variable: str) -> tuple[str, ...]:
        """A JSON array of strings."""
        text = self.text(variable)
        return self._convert(variable, text, _json_strings) or () if text else ()

    def table(self, variable: str, accepts: Callable[[Any], bool]) -> dict[str, Any] | None:
        """A JSON object whose members are as `accepts` says; None if it is not set."""
        text = self.text(variable)
        return self._convert(variable, text, _json_object(accepts)) if text else None

    def graphs(self, variable: str) -> dict[str, Any]:
        """`name=module:attribute` or the path of a langgraph.json, several separated by commas."""
        graphs: dict[str, Any] = {}
        for entry in self.words(variable):
            for name, path in self._graphs(variable, entry).items():
                if name in graphs:
                    once = "one graph for each agent"
                    self.faults.append(f"{variable}: {name!r} stands twice: {once}")
                graphs[name] = path
        return graphs

    def _graphs(self, variable: str, entry: str) -> Mapping[str, Any]:
        if not is_graph_file(entry):
            name, path = self._graph(variable, entry)
            return {name: path}
        try:
            return read_graph_file(entry)
        except GraphFileError as error:
            self.faults += [f"{variable}: {entry}: {fault}" for fault in error.faults]
            return {}

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


def _json_object(accepts: Callable[[Any], bool]) -> Callable[[str], dict[str, Any]]:
    def read(text: str) -> dict[str, Any]:
        try:
            values = json.loads(text)
        except json.JSONDecodeError:  # as above
            values = None
        if not isinstance(values, dict) or not all(map(accepts, values.values())):
            raise ValueError("must be a JSON object by server, see docs/remote.md")
        return values

    return read


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


def _days(text: str) -> float:
    days = _number(text)
    if not 0 <= days <= MOST_DAYS:
        raise ValueError(f"must be a number of days, 0 to {MOST_DAYS}")
    return days


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
