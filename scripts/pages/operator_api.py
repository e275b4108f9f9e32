"""The reference of the operator API, written from the OpenAPI document it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resumer.operator.openapi import document

__all__ = ["markdown"]

METHODS = ("get", "put", "post", "delete")

Json = Mapping[str, Any]


def markdown() -> str:
    """Every operation, then every shape that is sent."""
    whole = document()
    return "\n".join([*_operations(whole), "## Shapes\n", *_shapes(whole)])


def _operations(whole: Json) -> Iterator[str]:
    for path, item in whole["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"## {method.upper()} {path}\n"
                yield from _operation(item[method], item.get("parameters", []), whole)


def _operation(operation: Json, shared: list[Json], whole: Json) -> Iterator[str]:
    yield f"{operation['summary']}.\n"
    parameters = [*shared, *operation.get("parameters", [])]
    if parameters:
        yield "| parameter | in | |\n|---|---|---|"
        for each in parameters:
            about = f"{each['description']} {_bounds(each['schema'])}".strip()
            yield f"| `{each['name']}` | {each['in']} | {about} |"
        yield ""
    if body := operation.get("requestBody"):
        yield f"Body, JSON, may be left out: {_members(_schema_of(body))}.\n"
    yield "| status | |\n|---|---|"
    for status, answer in operation["responses"].items():
        yield f"| {status} | {_answer(answer, whole)} |"
    yield ""


def _answer(answer: Json, whole: Json) -> str:
    if "$ref" in answer:
        answer = whole["components"]["responses"][_last(answer["$ref"])]
    if "content" not in answer:
        return str(answer["description"])
    shape = _type(_schema_of(answer))
    return shape if answer["description"] in shape else f"{answer['description']}: {shape}"


def _shapes(whole: Json) -> Iterator[str]:
    for name, schema in whole["components"]["schemas"].items():
        yield f"### {name}\n"
        if about := schema.get("description"):
            yield f"{' '.join(about.split())}\n"
        if "enum" in schema:
            yield f"One of {_choices(schema)}.\n"
            continue
        yield "| member | |\n|---|---|"
        for member, inner in schema["properties"].items():
            yield f"| `{member}` | {_type(inner)} |"
        yield ""


def _schema_of(part: Json) -> Json:
    schema: Json = part["content"]["application/json"]["schema"]
    return schema


def _members(schema: Json) -> str:
    return ", ".join(f"`{name}` ({_type(inner)})" for name, inner in schema["properties"].items())


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = _last(schema["$ref"])
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return f"one of {_choices(schema)}"
    if "format" in schema:
        return str(schema["format"])
    return str(schema.get("type", "anything"))


def _bounds(schema: Json) -> str:
    if "minimum" not in schema:
        return ""
    return f"{schema['minimum']} to {schema['maximum']}, {schema['default']} by default."


def _choices(schema: Json) -> str:
    return ", ".join(f"`{choice}`" for choice in schema["enum"])


def _last(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]
