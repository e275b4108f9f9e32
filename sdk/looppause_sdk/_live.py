"""Settings that follow their secret files, so that keys rotate while a client lives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from ._settings import Settings
from .errors import LoopPauseConfigError
from .secret_files import SecretFiles, with_secret_files

__all__ = ["SECRETS", "LiveSettings"]

SECRETS = (
    "LOOPPAUSE_API_KEY",
    "LOOPPAUSE_SIGNING_SECRET",
    "LOOPPAUSE_SIGNING_SECRETS",
    "LOOPPAUSE_PUBLIC_KEYS",
    "LOOPPAUSE_RECEIVER_TOKEN",
)

_log = logging.getLogger("looppause_sdk")


class LiveSettings:
    """The settings of one client. `read` makes them of an environment without files.

    Raises what `read` raises, with the faults of files before its own.
    """

    def __init__(
        self, env: Mapping[str, str], read: Callable[[Mapping[str, str], Sequence[str]], Settings]
    ) -> None:
        self._env = dict(env)
        self._read = read
        self._files = SecretFiles.named_in(env, SECRETS)
        self._settings = self._read_now()

    def __call__(self) -> Settings:
        """The settings as the files are now; as they were before, if those cannot be used."""
        if self._files.have_changed():
            self._files.about_to_read()
            try:
                self._settings = self._read_now()
            except LoopPauseConfigError as error:
                _log.error("the keys are kept as they were: %s", error)  # no trace
        return self._settings

    def _read_now(self) -> Settings:
        return self._read(*with_secret_files(self._env, SECRETS))
