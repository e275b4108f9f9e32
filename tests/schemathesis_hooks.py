"""For schemathesis, through SCHEMATHESIS_HOOKS: ids and cursors that exist, now and then."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

KNOWN = os.environ["KNOWN_PAUSES"].split(",")
CURSOR = os.environ["KNOWN_CURSOR"]


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """A cursor cannot be made up."""
    for parameter in raw_schema["paths"]["/api/pauses"]["get"]["parameters"]:
        if parameter["name"] == "cursor":
            parameter["schema"] = {"type": "string", "enum": [CURSOR]}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Half of the pauses asked for are known ones."""
    if path_parameters and "pause_id" in path_parameters:
        name = str(path_parameters["pause_id"])
        if len(name) % 2:
            path_parameters["pause_id"] = KNOWN[len(name) % len(KNOWN)]
    return path_parameters
