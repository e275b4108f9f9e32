"""The installed LangGraph: what a safe resume needs of it, and how it reads checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

from .finding import Finding, fail, ok, warn

__all__ = ["check_langgraph", "check_strict_msgpack"]

_TRUE = ("1", "true", "yes")


def check_langgraph(load: Callable[[str], Any] = import_module) -> Finding:
    """Whether it can refuse a forged answer, and one that nobody waits for."""
    # By name: only resumer.threads may depend on LangGraph, and this looks at what is installed.
    interrupt = load("langgraph.types").interrupt
    features = {
        "response_schema": "response_schema" in inspect.signature(interrupt).parameters,
        "strict resume": hasattr(
            load("langgraph._internal._constants"), "CONFIG_KEY_STRICT_RESUME"
        ),
    }
    installed = f"version {version('langgraph')}"
    missing = [name for name, there in features.items() if not there]
    if missing:
        found = f"{installed}, without {' and '.join(missing)}"
        return fail("langgraph", found, "pip install 'langgraph>=1.2.20'")
    return ok("langgraph", f"{installed}, with {' and '.join(features)}")


def check_strict_msgpack(env: Mapping[str, str]) -> Finding:
    """Whether loading a checkpoint may call any constructor that is named in it."""
    if env.get("LANGGRAPH_STRICT_MSGPACK", "").lower() in _TRUE:
        return ok("strict msgpack", "LANGGRAPH_STRICT_MSGPACK is set")
    return warn(
        "strict msgpack",
        "off: whoever can write to the checkpoint tables can run code in the worker",
        "set LANGGRAPH_STRICT_MSGPACK=true, in the agents' processes too, and allow the types "
        "your state holds",
    )
