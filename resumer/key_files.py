"""Keys that rotate while the service runs: its secret files are watched, and read anew."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from looppause_sdk.secret_files import SecretFiles

from .environment import SECRETS
from .errors import SettingsError
from .settings import Settings
from .telemetry import get_logger

__all__ = ["KeyFiles"]

LOOK_SECONDS = 2.0

log = get_logger()


class KeyFiles:
    """The files of this process's secrets, of which `read` makes settings: it may raise."""

    def __init__(self, read: Callable[[], Settings]) -> None:
        # Noted before they are read: what changes in between is a change.
        self.files = SecretFiles.named_in(os.environ, SECRETS)
        self.read = read

    @asynccontextmanager
    async def watched(
        self, take: Callable[[Settings], None], *, every: float = LOOK_SECONDS
    ) -> AsyncIterator[None]:
        """Hand new settings to `take` when a file changes, beside the body, and on SIGHUP.

        They are looked at every so many seconds. Sets a signal handler: only for processes of our
        own. Without files nothing is done.
        """
        if not self.files.paths:
            yield
            return
        if found := self.files.open_to_all():
            log.warning("secret_files_open_to_all", files=found, advice="chmod 0400, or 0440")
        task = asyncio.create_task(self._keep_looking(take, every), name="key files")
        try:
            with _on_hangup(lambda: self._reload(take)):
                yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_looking(self, take: Callable[[Settings], None], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            if self.files.have_changed():
                self._reload(take)

    def _reload(self, take: Callable[[Settings], None]) -> None:
        """Read the files now. What cannot be used changes nothing: the old keys stay in use."""
        self.files.about_to_read()
        try:
            take(self.read())
        except SettingsError as error:
            advice = "the keys from before stay in use: mend what it says"
            log.error("keys_not_reloaded", faults=error.faults, advice=advice)


@contextmanager
def _on_hangup(reload: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
