"""A pause's `form`: read what it asks for, and give its answers their types.

Two shapes are understood, and rendered as inputs:

    {"fields": [{"name": "amount", "label": "Amount", "type": "number", "required": true,
                 "default": 10, "options": […], "help": "…"}]}
    {"properties": {"amount": {"type": "number", "title": "Amount"}}, "required": ["amount"]}

Types are `text`, `textarea`, `number`, `integer`, `boolean`, `date` and `select`, whose
`options` are plain values or `{"value", "label"}`; a property with an `enum` is a select, a
string with `"format": "date"` a date. An unknown type is a text. A form of any other shape is
answered with one JSON object, typed in by hand.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

__all__ = ["Input", "read_answers", "read_form"]

TYPES = ("text", "textarea", "number", "integer", "boolean", "date", "select")


@dataclass(frozen=True)
class Option:
    """One choice of a select: the value that comes back, and what the person reads."""

    value: Any
    label: str


@dataclass(frozen=True)
class Input:
    """One input of the page; `id` names it there, `name` is the member of `fields`."""

    id: str
    name: str
    label: str
    type: str = "text"
    required: bool = False
    options: tuple[Option, ...] = ()
    default: Any = None
    help: str = ""

    @property
    def initial(self) -> str:
        """The default as the page's input holds it."""
        if self.default is None or self.default is False:
            return ""
        if self.type == "select":
            values = [option.value for option in self.options]
            return str(values.index(self.default)) if self.default in values else ""
        return self.default if isinstance(self.default, str) else json.dumps(self.default)


def read_form(form: Mapping[str, Any] | None) -> tuple[Input, ...]:
    """The inputs that `form` asks for, in its order; none without a form."""
    if not form:
        return ()
    inputs = tuple(_fields(form) if isinstance(form.get("fields"), list) else _properties(form))
    return inputs or (Input("field-0", "", "Answers, as a JSON object", "json"),)


def read_answers(
    inputs: Sequence[Input], submitted: Mapping[str, str], *, strict: bool = True
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the typed answers by name, and what is wrong by input id.

    What was left empty is left out. With `strict=False` (a rejection) nothing is required.
    """
    answers: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in inputs:
        try:
            value = _typed(field, submitted.get(field.id, "").replace("\r\n", "\n"))
        except ValueError as error:
            problems[field.id] = str(error)
            continue
        if value is None and field.required and strict:
            problems[field.id] = "Please fill this in."
        elif field.type == "json":
            answers.update(value or {})
        elif value is not None:
            answers[field.name] = value
    return answers, problems


def _fields(form: Mapping[str, Any]) -> Iterator[Input]:
    for index, spec in enumerate(form["fields"]):
        name = spec.get("name") if isinstance(spec, dict) else None
        if isinstance(name, str) and name:
            yield _input(index, name, spec, required=spec.get("required") is True)


def _properties(form: Mapping[str, Any]) -> Iterator[Input]:
    properties, required = form.get("properties"), form.get("required")
    if not isinstance(properties, dict):
        return
    needed = required if isinstance(required, list) else []
    for index, (name, schema) in enumerate(properties.items()):
        if isinstance(schema, dict):
            yield _input(index, name, _from_schema(schema), required=name in needed)


def _from_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(schema.get("enum"), list):
        kind = "select"
    elif kind == "string":
        kind = "date" if schema.get("format") == "date" else "text"
    return {
        "type": kind,
        "label": schema.get("title"),
        "help": schema.get("description"),
        "default": schema.get("default"),
        "options": schema.get("enum"),
    }


def _input(index: int, name: str, spec: Mapping[str, Any], *, required: bool) -> Input:
    options = spec.get("options")
    return Input(
        id=f"field-{index}",
        name=name,
        label=str(spec.get("label") or name.replace("_", " ").capitalize()),
        type=spec["type"] if spec.get("type") in TYPES else "text",
        required=required,
        options=tuple(map(_option, options)) if isinstance(options, list) else (),
        default=spec.get("default"),
        help=str(spec.get("help") or ""),
    )


def _option(option: Any) -> Option:
    if isinstance(option, dict) and "value" in option:
        return Option(option["value"], str(option.get("label") or option["value"]))
    return Option(option, option if isinstance(option, str) else json.dumps(option))


def _typed(field: Input, text: str) -> Any:
    if field.type == "boolean":
        return bool(text)
    if not text.strip():
        return None
    read = _READERS.get(field.type)
    return read(field, text.strip()) if read else text


def _number(field: Input, text: str) -> int | float:
    if re.fullmatch(r"[+-]?\d{1,300}", text, re.ASCII):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or field.type == "integer":
        raise ValueError(f"Please enter a {'whole ' * (field.type == 'integer')}number.")
    return number


def _date(_field: Input, text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError("Please enter a date as YYYY-MM-DD.") from error


def _choice(field: Input, text: str) -> Any:
    if not text.isascii() or not text.isdigit() or int(text) >= len(field.options):
        raise ValueError("Please choose one of the options.")
    return field.options[int(text)].value


def _object(_field: Input, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    raise ValueError('Please enter a JSON object, like {"name": "value"}.')


_READERS = {
    "number": _number,
    "integer": _number,
    "date": _date,
    "select": _choice,
    "json": _object,
}
