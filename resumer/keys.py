"""The keys and tokens in use: swapped as one while everything goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast, overload

from looppause_sdk.proof import key_id, load_public_key

from .settings import Settings
from .telemetry import get_logger
from .tokens import Token

__all__ = ["ROTATING", "Current", "Keys"]

ROTATING = ("signing_secrets", "public_keys", "read_tokens", "act_tokens", "hook_secrets")

T = TypeVar("T")

# What is read when a process starts, and then kept.
_FIXED = {
    "database_url": "RESUMER_DATABASE_URL",
    "checkpoint_url": "RESUMER_CHECKPOINT_URL",
    "api_key": "LOOPPAUSE_API_KEY",
    "hook_url": "RESUMER_HOOK_URL",
}

log = get_logger()


class Current(Sequence[T]):
    """A sequence whose items are exchanged all at once: whoever reads it sees old ones or new."""

    def __init__(self, items: Sequence[T] = ()) -> None:
        self._items = tuple(items)

    def __repr__(self) -> str:
        return f"Current({len(self)} items)"  # never what they are

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def become(self, items: Sequence[T]) -> None:
        """Hold these from now on."""
        self._items = tuple(items)


class Keys:
    """What verifies proofs, lets operators in and signs hooks, as of the settings last taken."""

    def __init__(self, settings: Settings) -> None:
        self.signing_secrets = Current(settings.signing_secrets)
        self.public_keys = Current(settings.public_keys)
        self.tokens: Current[Token] = Current(settings.tokens)
        self.hook_secrets = Current(settings.hook_secrets)
        self._settings = settings

    def take(self, settings: Settings) -> None:
        """Use the keys and tokens of these settings, which were found good when they were made."""
        fixed = [
            variable
            for name, variable in _FIXED.items()
            if getattr(settings, name) != getattr(self._settings, name)
        ]
        if fixed:
            log.warning(
                "restart_needed", settings=fixed, advice="only keys and tokens are reloaded"
            )
        self.signing_secrets.become(settings.signing_secrets)
        self.public_keys.become(settings.public_keys)
        self.tokens.become(settings.tokens)
        self.hook_secrets.become(settings.hook_secrets)
        self._settings = settings
        log.info("keys_reloaded", keys=self.ids(), tokens=[token.name for token in self.tokens])

    def give(self, **given: str | Sequence[str]) -> None:
        """Use these instead, each a text or several, and go on with all others as they are.

        Raises `SettingsError` and keeps what it had, if they cannot be used; `TypeError` for what
        is none of `ROTATING`.
        """
        if unknown := sorted(given.keys() - set(ROTATING)):
            raise TypeError(f"only {', '.join(ROTATING)} can be reloaded, not {unknown[0]}")
        several = {name: (v,) if isinstance(v, str) else tuple(v) for name, v in given.items()}
        self.take(replace(self._settings, **cast("Any", several)))

    def ids(self) -> list[str]:
        """The names of the keys that verify proofs, as they stand in logs."""
        public = [key_id(load_public_key(key)) for key in self.public_keys]
        return [*map(key_id, self.signing_secrets), *public]
