"""What both clients share: settings, the protocol, and the arguments each request goes out with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Generic, TypedDict, TypeVar

import httpx

from ._live import LiveSettings
from ._protocol import Attempt, LoopPauseProtocol
from ._replies import Body
from ._requests import Request
from ._retry import Clock
from ._settings import PublicKey, Settings, read_settings
from .errors import LoopPauseConfigError
from .proof import Proof, key_id

__all__ = ["BaseClient"]

MAX_CONNECT = 3.0  # to the receiver: while it is away, LoopPause has to be asked

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class _Call(TypedDict):
    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    timeout: httpx.Timeout
    follow_redirects: bool


class BaseClient(Generic[Http]):
    """A client without the sending; see `LoopPauseClient` for the arguments."""

    _http_class: type[Http]
    _limits = httpx.Limits()

    def __init__(
        self,
        api_key: str | None = None,
        signing_secret: str | None = None,
        base_url: str | None = None,
        request_timeout: float = 10.0,
        *,
        signing_secrets: str | Iterable[str] = (),
        public_keys: PublicKey | Iterable[PublicKey] = (),
        http_client: Http | None = None,
        max_attempts: int = 4,
        receiver_url: str | None = None,
        receiver_token: str | None = None,
        env: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        read = partial(
            read_settings,
            api_key=api_key,
            signing_secret=signing_secret,
            signing_secrets=signing_secrets,
            public_keys=public_keys,
            base_url=base_url,
            request_timeout=request_timeout,
            max_attempts=max_attempts,
            receiver_url=receiver_url,
            receiver_token=receiver_token,
        )
        self._settings_now = LiveSettings(os.environ if env is None else env, read)
        self._clock = clock or Clock()
        self._protocol = LoopPauseProtocol(self._settings_now, self._clock)
        self._owns_http = http_client is None
        self._http: Http = self._new_http() if http_client is None else self._fit(http_client)

    @property
    def _settings(self) -> Settings:
        return self._settings_now()

    @property
    def api_key(self) -> str:
        """The API key in use."""
        return self._settings.api_key

    @property
    def signing_secret(self) -> str | None:
        """The first signing secret, or None if only public keys are configured."""
        return next(iter(self._settings.secrets), None)

    @property
    def base_url(self) -> str:
        """The API's address, without a slash at its end."""
        return self._settings.base_url

    @property
    def receiver_url(self) -> str | None:
        """The receiver's address, if proofs are waited for there."""
        receiver = self._settings.receiver
        return receiver.url if receiver else None

    def __repr__(self) -> str:
        keys = [key_id(secret) for secret in self._settings.secrets]
        keys += [key_id(key) for key in self._settings.public_keys]
        return f"{type(self).__name__}(base_url={self.base_url!r}, key_ids={keys})"

    def parse_resume_proof(self, payload: bytes | str | Mapping[str, Any]) -> Proof:
        """Verify a proof that came by webhook or as a resume value, against every key.

        Says nothing about which pause it ought to be for: compare its `pause_id`. Raises
        `ProofInvalid` or `ProofMalformed`.
        """
        return self._protocol.parse_resume_proof(payload)

    def _new_http(self) -> Http:
        try:
            return self._http_class(timeout=self._settings.request_timeout, limits=self._limits)
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise LoopPauseConfigError(
                f"httpx cannot be set up ({error}): check the proxy and certificate variables "
                "of the environment, or pass http_client"
            ) from error

    def _fit(self, http_client: Http) -> Http:
        if not isinstance(http_client, self._http_class):
            raise LoopPauseConfigError(
                f"{type(self).__name__} needs an httpx.{self._http_class.__name__} as "
                f"http_client, not {type(http_client).__name__}"
            )
        return http_client

    def _call(self, attempt: Attempt) -> _Call:
        """The arguments of httpx's `stream` for this attempt."""
        if self._http.is_closed:
            raise LoopPauseConfigError("this client is closed: make a new one")
        request = attempt.request
        base, credential = self._addressed(request)
        return {
            "method": request.method,
            "url": base + request.path,
            "headers": {"Authorization": f"Bearer {credential}", **request.headers},
            "content": request.content,
            "timeout": _shortened(_patient(self._http.timeout, attempt.hold), attempt.limit),
            "follow_redirects": False,
        }

    def _addressed(self, request: Request) -> tuple[str, str]:
        """Where a request goes and with what: to each only what is its own."""
        receiver = self._settings.receiver
        if not request.to_receiver:
            return self.base_url, self.api_key
        if receiver is None:
            raise LoopPauseConfigError("no receiver is configured")
        return receiver.url, receiver.token

    def _body(self, attempt: Attempt) -> Body:
        return Body(attempt.limit, self._clock.monotonic)


def _patient(timeout: httpx.Timeout, hold: float) -> httpx.Timeout:
    """The client's own timeouts for a reply that may be held back for `hold` seconds."""
    if not hold:
        return timeout
    phases = timeout.as_dict()
    read, connect = phases["read"], phases["connect"]
    return httpx.Timeout(
        connect=MAX_CONNECT if connect is None else min(connect, MAX_CONNECT),
        read=None if read is None else read + hold,
        write=phases["write"],
        pool=phases["pool"],
    )


def _shortened(timeout: httpx.Timeout, limit: float) -> httpx.Timeout:
    """The client's own timeouts, none of them longer than `limit` seconds."""
    phases = {
        phase: limit if seconds is None else min(seconds, limit)
        for phase, seconds in timeout.as_dict().items()
    }
    return timeout if limit == math.inf else httpx.Timeout(**phases)
