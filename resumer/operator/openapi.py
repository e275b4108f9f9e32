"""The OpenAPI document: paths written here, what is sent read off the classes that send it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from looppause_sdk.proof import MAX_PAUSE_ID
from resumer.model import State

from .asking import MOST_STATES, MOST_TEXT
from .limits import LONGEST_HOURS, MOST_AUDIT, MOST_MATCHING, MOST_REASON
from .reading import MOST_ROWS
from .shapes import schemas

__all__ = ["VERSION", "document"]

VERSION = "1"

Json = Mapping[str, Any]


def document(server: str = "") -> Json:
    """The whole document; `server` is the prefix under which the receiver is mounted."""
    return {**_document(), "servers": [{"url": server or "/"}]}


@cache
def _document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Resumer: operator API",
            "version": VERSION,
            "description": "What hibernates, why, and what an operator does about it. Times are "
            "UTC, durations seconds. A token of RESUMER_READ_TOKENS lets look, one of "
            "RESUMER_ACT_TOKENS lets act, too.",
        },
        "security": [{"token": []}],
        "paths": _PATHS,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
            "responses": {name: _refusal(text) for name, text in _REFUSALS.items()},
        },
    }


_REFUSALS = {
    "BadRequest": "What was asked cannot be meant",
    "Unauthorized": "The bearer token is missing or not one of ours",
    "Forbidden": "The token lets look, not act",
    "NotFound": "There is no such thing, or the API is off",
    "TooSlow": "The body came too slowly",
    "NotPossible": "It cannot be done now",
    "TooLarge": "The body is too large",
    "NotJson": "The body is not sent as JSON",
    "Unavailable": "The database is away, or the receiver has not started: try again",
}
_USUAL = {"400": "BadRequest", "401": "Unauthorized", "404": "NotFound", "503": "Unavailable"}
_OF_ACTS = {"403": "Forbidden", "409": "NotPossible"}
_OF_BODIES = {"408": "TooSlow", "413": "TooLarge", "415": "NotJson"}


def _looks(name: str, summary: str, sent: str, *parameters: Json) -> Json:
    return _operation(name, summary, sent, _USUAL, parameters)


def _acts(name: str, summary: str, sent: str | None, *, body: Json | None = None) -> Json:
    refusals = _USUAL | _OF_ACTS
    if body is None:
        return _operation(name, summary, sent, refusals)
    content = {"content": {"application/json": {"schema": body}}}
    return {
        **_operation(name, summary, sent, refusals | _OF_BODIES),
        "requestBody": {**content, "required": False},
    }


def _operation(
    name: str,
    summary: str,
    sent: str | None,
    refusals: Mapping[str, str],
    parameters: Sequence[Json] = (),
) -> Json:
    good = {"200": _sends(sent)} if sent else {"204": {"description": "Done"}}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {**good, **{status: _ref(text) for status, text in refusals.items()}},
    }


def _sends(shape: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{shape}"}
    return {"description": shape, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/responses/{name}"}


def _refusal(text: str) -> Json:
    return {**_sends("Refusal"), "description": text}


def _query(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _in_path(name: str, text: str) -> Json:
    schema = {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_PAUSE_ID,
        "pattern": r"^[^\x00-\x1f\x7f]+$",
    }
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def _whole(least: int, most: int, default: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _object(**members: Json) -> Json:
    return {"type": "object", "properties": members, "additionalProperties": False}


def _filters() -> list[Json]:
    return [_query(name, schema, _FILTER_TEXTS[name]) for name, schema in _FILTERS.items()]


_TEXT: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": MOST_TEXT,
    "pattern": r"^[^\x00]+$",
}
_TIME: Json = {"type": "string", "format": "date-time"}
_STATES: Json = {
    "type": "array",
    "items": {"type": "string", "enum": [str(state) for state in State]},
    "minItems": 1,
    "maxItems": MOST_STATES,
}
_FILTERS: Mapping[str, Json] = {
    "state": _STATES,
    "agent_id": _TEXT,
    "thread_id": _TEXT,
    "reason_code": _TEXT,
    "created_after": _TIME,
    "created_before": _TIME,
    "text": _TEXT,
}
_FILTER_TEXTS = {
    "state": "In one of these states.",
    "agent_id": "Asked by this agent.",
    "thread_id": "Of this thread.",
    "reason_code": "Postponed or parked for this reason.",
    "created_after": "First heard of at this time or later.",
    "created_before": "First heard of before this time.",
    "text": "With this text in what is shown of it; the id of a pause or thread means just that.",
}
_HOURS = _whole(1, LONGEST_HOURS, 24)
_OF_HOURS = "How many hours the period has that charts and counts of what happened are about."
_PAGING = (
    _query("cursor", _TEXT, "Where to go on: `next_cursor` as given."),
    _query("limit", _whole(1, MOST_ROWS, 50), "At most so many."),
)
_PAUSE = _in_path("pause_id", "The pause.")
_AGENT = _in_path("agent_id", "The agent; `*` is the hold on all of them.")
_REASON: Json = {**_TEXT, "maxLength": MOST_REASON, "description": "Why, for the audit."}
_REASON_BODY = _object(reason=_REASON)
_RETRY_BODY = _object(
    filter=_object(**_FILTERS),
    dry_run={"type": "boolean", "default": True, "description": "Only say which it would be."},
    most=_whole(1, MOST_MATCHING, MOST_MATCHING),
)
_PATHS: Json = {
    "/api/overview": {
        "get": _looks(
            "overview", "Everything at a glance", "Overview", _query("hours", _HOURS, _OF_HOURS)
        )
    },
    "/api/pauses": {
        "get": _looks("listPauses", "Pauses, the newest first", "Page", *_filters(), *_PAGING)
    },
    "/api/pauses/retry": {
        "post": _acts(
            "retryPauses",
            "Take up again whatever matches and is parked or failed",
            "Matching",
            body=_RETRY_BODY,
        )
    },
    "/api/pauses/{pause_id}": {
        "parameters": [_PAUSE],
        "get": _looks("readPause", "Everything known of one pause", "Detail"),
    },
    "/api/pauses/{pause_id}/explanation": {
        "parameters": [_PAUSE],
        "get": _looks("explainPause", "Why it is not resumed", "Explanation"),
    },
    "/api/pauses/{pause_id}/retry": {
        "parameters": [_PAUSE],
        "post": _acts("retryPause", "Take it up again, at once", "Retried"),
    },
    "/api/pauses/{pause_id}/discard": {
        "parameters": [_PAUSE],
        "post": _acts(
            "discardPause",
            "Decide that nothing more is done about it",
            "Discarded",
            body=_REASON_BODY,
        ),
    },
    "/api/agents/{agent_id}/hold": {
        "parameters": [_AGENT],
        "get": _looks("readHold", "Whether the agent is held", "Held"),
        "put": _acts("hold", "Resume nothing of this agent", "Held", body=_REASON_BODY),
        "delete": _acts("release", "Let its threads go on", None),
    },
    "/api/audit": {
        "get": _looks(
            "listAudit",
            "What operators did, the latest first",
            "Audit",
            _query("limit", _whole(1, MOST_AUDIT, 100), "At most so many."),
        )
    },
    "/api/openapi.json": {
        "get": {
            "operationId": "readDocument",
            "summary": "This document",
            "security": [],
            "responses": {
                "200": {
                    "description": "The document",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
                "404": _ref("NotFound"),
            },
        }
    },
}
