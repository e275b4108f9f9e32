"""What a request asks for, read strictly: each fault names the parameter that has it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from looppause_sdk.proof import MAX_PAUSE_ID
from resumer.model import State
from resumer.storable import storable

from .views import Filter

__all__ = [
    "FILTERS",
    "MOST_STATES",
    "MOST_TEXT",
    "Asked",
    "BadRequest",
    "filter_of",
    "flag",
    "moment_of",
    "name_of",
    "object_of",
    "text_of",
    "whole_number",
]

MOST_TEXT = 1000
MOST_STATES = 20

T = TypeVar("T")

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class BadRequest(ValueError):
    """A request that cannot be meant; `parameter` is what is wrong with it."""

    def __init__(self, parameter: str, fault: str) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter}: {fault}")


@dataclass(frozen=True)
class Asked:
    """The parameters of a request, from its address or from its body, by name."""

    given: Mapping[str, Any]

    @classmethod
    def of_query(cls, query: QueryParams, known: Sequence[str], *, lists: str = "state") -> Asked:
        """Those of an address. Raises `BadRequest` for unknown ones, and for one given twice."""
        for name, values in ((name, query.getlist(name)) for name in query):
            _known(name, known)
            if name != lists and len(values) > 1:
                raise BadRequest(name, "is given more than once")
        return cls({name: query.getlist(name) if name == lists else query[name] for name in query})

    @classmethod
    def of_body(cls, body: Mapping[str, Any], known: Sequence[str]) -> Asked:
        """Those of a body. Raises `BadRequest` for unknown ones."""
        for name in body:
            _known(name, known)
        return cls(body)

    def read(self, name: str, convert: Callable[[str, Any], T], otherwise: T) -> T:
        """The parameter as `convert` makes it; `otherwise` if it is not given."""
        return convert(name, self.given[name]) if name in self.given else otherwise


FILTERS = (
    "state",
    "agent_id",
    "thread_id",
    "reason_code",
    "created_after",
    "created_before",
    "text",
)


def filter_of(asked: Asked) -> Filter:
    """The pauses that are asked for. Raises `BadRequest`."""
    return Filter(
        states=asked.read("state", _states, ()),
        agent_id=asked.read("agent_id", text_of, None),
        thread_id=asked.read("thread_id", text_of, None),
        reason_code=asked.read("reason_code", text_of, None),
        created_after=asked.read("created_after", moment_of, None),
        created_before=asked.read("created_before", moment_of, None),
        text=asked.read("text", text_of, None),
    )


def text_of(name: str, given: Any) -> str:
    """Some text that the database takes."""
    if not isinstance(given, str) or not 0 < len(given) <= MOST_TEXT:
        raise BadRequest(name, f"must be a text of 1 to {MOST_TEXT} characters")
    if storable(given) != given:
        raise BadRequest(name, "must hold no NUL and no unpaired surrogate")
    return given


def name_of(name: str, given: Any) -> str:
    """The id of a pause or an agent."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_PAUSE_ID:
        raise BadRequest(name, f"must have 1 to {MAX_PAUSE_ID} characters")
    if _CONTROL.search(given) or storable(given) != given:
        raise BadRequest(name, "must hold no control characters")
    return given


def whole_number(least: int, most: int) -> Callable[[str, Any], int]:
    """A reader of whole numbers in a range, from an address or from JSON."""

    def read(name: str, given: Any) -> int:
        if isinstance(given, str) and _NUMBER.fullmatch(given):
            given = int(given)
        if isinstance(given, float) and given.is_integer():
            given = int(given)  # in JSON, 5.0 is 5
        if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
            raise BadRequest(name, f"must be a whole number from {least} to {most}")
        return given

    return read


def flag(name: str, given: Any) -> bool:
    """True or false, from JSON."""
    if not isinstance(given, bool):
        raise BadRequest(name, "must be true or false")
    return given


def moment_of(name: str, given: Any) -> datetime:
    """A time as RFC 3339 writes it, with its offset."""
    try:
        if isinstance(given, str) and _MOMENT.fullmatch(given):
            return datetime.fromisoformat(given.upper())
    except ValueError:  # a month 13
        pass
    raise BadRequest(
        name,
        "must be a time with its offset, e.g. 2026-11-22T03:00:00Z (a + in an address is %2B)",
    )


def object_of(name: str, given: Any) -> Mapping[str, Any]:
    """A JSON object, from the bytes of a body or from within one. An empty body is an empty one."""
    if isinstance(given, bytes):
        try:
            given = json.loads(given or b"{}")
        except (ValueError, RecursionError):
            raise BadRequest(name, "is not JSON") from None
    if not isinstance(given, Mapping):
        raise BadRequest(name, "must be a JSON object")
    return given


def _known(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise BadRequest(name[:100], f"is not known here: there are {', '.join(known) or 'none'}")


def _states(name: str, given: Any) -> tuple[State, ...]:
    listed = given if isinstance(given, list) else [given]
    known = 0 < len(listed) <= MOST_STATES and all(state in tuple(State) for state in listed)
    if not known:
        raise BadRequest(name, f"must be of {', '.join(State)}")
    return tuple(dict.fromkeys(map(State, listed)))
