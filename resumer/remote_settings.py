"""What the settings say of graphs on LangGraph servers, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

__all__ = ["RemoteAddress", "headers_by_server", "is_remote", "remote_faults", "servers_in"]


@dataclass(frozen=True)
class RemoteAddress:
    """A graph on a LangGraph server, `https://host#assistant`.

    `assistant` is the name of a graph or the id of an assistant there.
    """

    server: str
    assistant: str

    @classmethod
    def of(cls, spec: str) -> RemoteAddress:
        """Read `spec`. Raises `ValueError` that repeats nothing of it."""
        parts = urlsplit(spec)  # which raises ValueError, too
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must start with https:// and name a host")
        if parts.username is not None or parts.query:
            raise ValueError("must have no user, password or query: a key is a setting of its own")
        if not parts.fragment:
            raise ValueError("must end with # and the name of a graph or assistant of that server")
        return cls(_server(parts), parts.fragment)


def is_remote(spec: Any) -> bool:
    """Whether a graph is registered by the address of a server."""
    return isinstance(spec, str) and spec.lower().startswith(("http://", "https://"))


def servers_in(graphs: Mapping[str, Any]) -> list[str]:
    """The servers that graphs are registered on, each once; addresses with faults are left out."""
    specs = [spec for spec in graphs.values() if is_remote(spec) and not _address_fault(spec)]
    return list(dict.fromkeys(RemoteAddress.of(spec).server for spec in specs))


def headers_by_server(
    graphs: Mapping[str, Any],
    key: str | None,
    keys: Mapping[str, str],
    headers: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, str]]:
    """What each server is sent with every request; `key` is for one that `keys` does not name."""
    keys = {_server_of(url): secret for url, secret in keys.items()}
    headers = {_server_of(url): given for url, given in headers.items()}
    sent = {}
    for server in servers_in(graphs):
        secret = keys.get(server, key)
        sent[server] = {**headers.get(server, {}), **({"x-api-key": secret} if secret else {})}
    return sent


def remote_faults(
    graphs: Mapping[str, Any],
    flows: Mapping[str, Any],
    key: str | None,
    keys: Mapping[str, str],
    headers: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """Why a server could not be reached, or a key would go astray. No text repeats a secret."""
    for name, spec in graphs.items():
        if is_remote(spec) and (fault := _address_fault(spec)):
            yield f"RESUMER_GRAPHS: the address of {name!r} {fault}"
    for name, spec in flows.items():
        if is_remote(spec):
            yield f"RESUMER_FLOWS: {name!r} is an address, and flows run nowhere else than here"
    servers = servers_in(graphs)
    if key and len(servers) > 1:
        yield (
            "RESUMER_REMOTE_KEY is for one server, and the graphs are on several: give each its "
            'own in RESUMER_REMOTE_KEYS, {"https://host": "key"}'
        )
    for variable, named in (("RESUMER_REMOTE_KEYS", keys), ("RESUMER_REMOTE_HEADERS", headers)):
        if any(_server_of(url) not in servers for url in named):
            yield f"{variable} names a server that no graph in RESUMER_GRAPHS is on"
    given = [*keys.values(), *(text for each in headers.values() for text in each.values())]
    if any(not _is_header(text) for text in ([key] if key else []) + given):
        yield "RESUMER_REMOTE_KEY: a key or header has characters that no header can hold"


def _address_fault(spec: str) -> str | None:
    try:
        RemoteAddress.of(spec)
    except ValueError as error:
        return str(error)
    return None


def _server_of(url: str) -> str:
    try:
        return _server(urlsplit(url))
    except ValueError:
        return ""


def _server(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and text.strip() == text != ""
