"""Several lifespans for one ASGI application: the host's own beside the receiver's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

__all__ = ["Lifespan", "lifespans"]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def lifespans(*parts: Lifespan) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Return one lifespan that enters all `parts`, in this order, and leaves them in reverse.

    As in `FastAPI(lifespan=lifespans(my_lifespan, receiver.lifespan))`.

    What they yield is handed on as Starlette does it, in `request.state`; where two yield the same
    name, the later one has it. Should one fail to start, those before it are left again.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any] | None]:
        async with AsyncExitStack() as stack:
            state: dict[str, Any] = {}
            for part in parts:
                given = await stack.enter_async_context(part(app))
                state |= given or {}
            # Nothing, where there is nothing: a server need not know of state.
            yield state or None

    return lifespan
