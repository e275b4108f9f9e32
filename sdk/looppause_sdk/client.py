"""`LoopPauseClient` and `AsyncLoopPauseClient`: two ways to drive one protocol over httpx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from ._base import BaseClient
from ._protocol import Attempt, Flow, Pause
from ._replies import FAULTS, Answer, answer_for
from ._requests import Question
from ._retry import Clock
from .proof import Proof

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AsyncLoopPauseClient", "Clock", "LoopPauseClient", "Pause"]

T = TypeVar("T")


class LoopPauseClient(BaseClient[httpx.Client]):
    """Asks people through LoopPause, and believes only what one of its keys has signed.

    What is not given is read from `env` (by default the process environment): `LOOPPAUSE_API_KEY`,
    `LOOPPAUSE_SIGNING_SECRET`, `LOOPPAUSE_SIGNING_SECRETS` and `LOOPPAUSE_PUBLIC_KEYS` (JSON
    arrays), `LOOPPAUSE_API_URL`, and `LOOPPAUSE_WEBHOOK_URL` for pauses that name no webhook.
    Keys and tokens may be in files that `<variable>_FILE` names, and change there meanwhile.
    With `LOOPPAUSE_RECEIVER_TOKEN`, `wait_for_proof` waits on the receiver at
    `LOOPPAUSE_RECEIVER_URL`, or else the one whose webhook `LOOPPAUSE_WEBHOOK_URL` is.
    `request_timeout` is in seconds. An `http_client` of your own keeps its timeouts and is never
    closed here; `clock` is for tests. Raises `LoopPauseConfigError` with every fault in it.

    May be shared by threads. Close it, or use it as a context manager.
    """

    _http_class = httpx.Client

    def create_pause(
        self,
        *,
        agent_id: str,
        action: Mapping[str, Any],
        recipients: Sequence[Mapping[str, Any]],
        idempotency_key: str,
        webhook_url: str | None = None,
        form: Mapping[str, Any] | None = None,
        timeout_hours: float = 24,
        escalation: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Ask the question and return its pause id; the same key returns the same pause.

        Without `webhook_url`, that of `LOOPPAUSE_WEBHOOK_URL` is used, if any; "" is none. Raises
        `LoopPauseConfigError` (an argument cannot be sent), `LoopPauseRequestError` (LoopPause
        refused it) or `LoopPauseUnavailable` (no usable answer: do not act).
        """
        pause = self.open_pause(
            agent_id=agent_id,
            action=action,
            recipients=recipients,
            idempotency_key=idempotency_key,
            webhook_url=webhook_url,
            form=form,
            timeout_hours=timeout_hours,
            escalation=escalation,
            metadata=metadata,
        )
        return pause.pause_id

    def open_pause(
        self,
        *,
        agent_id: str,
        action: Mapping[str, Any],
        recipients: Sequence[Mapping[str, Any]],
        idempotency_key: str,
        webhook_url: str | None = None,
        form: Mapping[str, Any] | None = None,
        timeout_hours: float = 24,
        escalation: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Pause:
        """As `create_pause`, but returns the whole `Pause`: with its status and its expiry."""
        question = Question(
            agent_id=agent_id,
            action=action,
            recipients=recipients,
            idempotency_key=idempotency_key,
            webhook_url=webhook_url,
            form=form,
            timeout_hours=timeout_hours,
            escalation=escalation,
            metadata=metadata,
        )
        return self._run(self._protocol.open_pause(question))

    def get_pause(self, pause_id: str) -> dict[str, Any]:
        """The pause as LoopPause describes it now. Not verified: decide nothing by it.

        Raises `LoopPauseRequestError` (`status_code` 404: no such pause) or
        `LoopPauseUnavailable`.
        """
        return self._run(self._protocol.get_pause(pause_id)).members

    def get_pause_body(self, pause_id: str) -> bytes:
        """`get_pause`, as the bytes received: a JSON object that `verify` can check unchanged."""
        return self._run(self._protocol.get_pause(pause_id)).body

    def wait_for_proof(
        self,
        pause_id: str,
        *,
        poll_interval: float = 2.0,
        max_interval: float = 30.0,
        deadline_seconds: float | None = None,
    ) -> Proof:
        """Look at the pause until it is answered, and return the verified proof.

        A rejection is returned too: act only if `human_authorized`. All times are in seconds; a
        look comes after `poll_interval`, then ever later up to `max_interval`, or when
        LoopPause asks for it. The deadline is, unless given, the pause's own expiry. With a
        receiver, it is listened to between two looks: they are 25 s apart then, and the proof is
        here as soon as it is delivered there. What it says is verified as all else.

        Raises `PauseEnded` (timed out, expired, cancelled), `WaitDeadlineExceeded`,
        `ProofInvalid` (not genuine, or another pause's), `ProofMalformed`,
        `LoopPauseRequestError`, and `LoopPauseUnavailable` if the last look failed.
        """
        flow = self._protocol.wait_for_proof(
            pause_id,
            poll_interval=poll_interval,
            max_interval=max_interval,
            deadline_seconds=deadline_seconds,
        )
        return self._run(flow)

    def close(self) -> None:
        """Close the connections, unless they belong to a client of the caller's."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A client made for a gate lives as long as its graph, and nobody closes it.
        if hasattr(self, "_http"):  # not where the constructor refused
            self.close()

    def _run(self, flow: Flow[T]) -> T:
        try:
            attempt = next(flow)
            while True:
                if attempt.wait > 0:
                    self._clock.sleep(attempt.wait)
                attempt = flow.send(self._exchange(attempt))
        except StopIteration as end:
            result: T = end.value
            return result

    def _exchange(self, attempt: Attempt) -> Answer:
        call, body = self._call(attempt), self._body(attempt)
        try:
            with self._http.stream(**call) as response:
                for chunk in response.iter_bytes():
                    body.add(chunk)
                return body.reply(response)
        except FAULTS as error:
            return answer_for(error)


class AsyncLoopPauseClient(BaseClient[httpx.AsyncClient]):
    """`LoopPauseClient` for asyncio: the same arguments, methods and errors, awaited.

    May be used from several event loops, one after another: it keeps no connection between
    requests. Close it with `aclose`, or use it as an async context manager.
    """

    _http_class = httpx.AsyncClient
    # A kept connection belongs to the loop that opened it, and breaks the next `asyncio.run`.
    _limits = httpx.Limits(max_keepalive_connections=0)

    async def create_pause(
        self,
        *,
        agent_id: str,
        action: Mapping[str, Any],
        recipients: Sequence[Mapping[str, Any]],
        idempotency_key: str,
        webhook_url: str | None = None,
        form: Mapping[str, Any] | None = None,
        timeout_hours: float = 24,
        escalation: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """As `LoopPauseClient.create_pause`."""
        pause = await self.open_pause(
            agent_id=agent_id,
            action=action,
            recipients=recipients,
            idempotency_key=idempotency_key,
            webhook_url=webhook_url,
            form=form,
            timeout_hours=timeout_hours,
            escalation=escalation,
            metadata=metadata,
        )
        return pause.pause_id

    async def open_pause(
        self,
        *,
        agent_id: str,
        action: Mapping[str, Any],
        recipients: Sequence[Mapping[str, Any]],
        idempotency_key: str,
        webhook_url: str | None = None,
        form: Mapping[str, Any] | None = None,
        timeout_hours: float = 24,
        escalation: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Pause:
        """As `LoopPauseClient.open_pause`."""
        question = Question(
            agent_id=agent_id,
            action=action,
            recipients=recipients,
            idempotency_key=idempotency_key,
            webhook_url=webhook_url,
            form=form,
            timeout_hours=timeout_hours,
            escalation=escalation,
            metadata=metadata,
        )
        return await self._run(self._protocol.open_pause(question))

    async def get_pause(self, pause_id: str) -> dict[str, Any]:
        """As `LoopPauseClient.get_pause`."""
        return (await self._run(self._protocol.get_pause(pause_id))).members

    async def get_pause_body(self, pause_id: str) -> bytes:
        """As `LoopPauseClient.get_pause_body`."""
        return (await self._run(self._protocol.get_pause(pause_id))).body

    async def wait_for_proof(
        self,
        pause_id: str,
        *,
        poll_interval: float = 2.0,
        max_interval: float = 30.0,
        deadline_seconds: float | None = None,
    ) -> Proof:
        """As `LoopPauseClient.wait_for_proof`."""
        flow = self._protocol.wait_for_proof(
            pause_id,
            poll_interval=poll_interval,
            max_interval=max_interval,
            deadline_seconds=deadline_seconds,
        )
        return await self._run(flow)

    async def aclose(self) -> None:
        """Close the connections, unless they belong to a client of the caller's."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            attempt = next(flow)
            while True:
                if attempt.wait > 0:
                    await self._clock.asleep(attempt.wait)
                attempt = flow.send(await self._exchange(attempt))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _exchange(self, attempt: Attempt) -> Answer:
        call, body = self._call(attempt), self._body(attempt)
        try:
            async with self._http.stream(**call) as response:
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
                return body.reply(response)
        except FAULTS as error:
            return answer_for(error)
