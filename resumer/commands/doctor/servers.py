"""Are the LangGraph servers there, and have they the graphs that are registered on them?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from resumer.errors import GraphNotLoaded, RemoteAway, RemoteRefused
from resumer.remote.server import Server
from resumer.remote_settings import RemoteAddress, headers_by_server, is_remote

from .finding import Finding, fail, ok
from .subject import Subject

__all__ = ["check_servers"]


async def check_servers(subject: Subject) -> AsyncIterator[Finding]:
    """One finding for each graph that is registered by an address."""
    sent = headers_by_server(
        subject.graphs, subject.remote_key, subject.remote_keys, subject.remote_headers
    )
    for name, spec in subject.graphs.items():
        if not is_remote(spec):
            continue
        try:
            address = RemoteAddress.of(spec)
        except ValueError:
            continue  # one of the settings' own faults
        async with Server(
            address.server, sent[address.server], timeout=subject.timeout
        ).running() as server:
            yield await _check(name, server, address)


async def _check(name: str, server: Server, address: RemoteAddress) -> Finding:
    place = f"{name}={address.server}#{address.assistant}"
    try:
        await server.assistant(address.assistant)
    except GraphNotLoaded:
        mend = "correct the name behind the # in RESUMER_GRAPHS, or deploy that graph there"
        return fail("server", f"{place}: the server has no such graph or assistant", mend)
    except RemoteAway as error:
        return fail("server", f"{place}: {error}", "see that it runs, and is reached from here")
    except RemoteRefused as error:
        mend = "see that RESUMER_REMOTE_KEY is its key and that the address leads to the server"
        return fail("server", f"{place}: {error}", mend)
    return ok("server", f"{place} answers, and has it")
