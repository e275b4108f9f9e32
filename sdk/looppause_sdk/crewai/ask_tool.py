"""`HumanApprovalTool`: the agent asks by itself, in its own words."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from crewai.tools import BaseTool, EnvVar, ToolFailure
from pydantic import BaseModel, Field, PrivateAttr
from typing_extensions import override

from looppause_sdk.approval import DENIAL_REASONS, Approval, ToolCall
from looppause_sdk.client import LoopPauseClient
from looppause_sdk.errors import LoopPauseConfigError
from looppause_sdk.gate import GateResult

from ._asker import Asker, check_client, check_deadline
from ._stopping import Denial, StoppingTool, never_cached

__all__ = ["HumanApprovalInput", "HumanApprovalTool"]

_KEYS = ("LOOPPAUSE_SIGNING_SECRET", "LOOPPAUSE_SIGNING_SECRETS", "LOOPPAUSE_PUBLIC_KEYS")

Objects = Iterable[Mapping[str, Any]]
Object = Mapping[str, Any]


def _env_vars() -> list[EnvVar]:
    return [
        EnvVar(name="LOOPPAUSE_API_KEY", description="The key LoopPause's API is called with."),
        EnvVar(
            name="LOOPPAUSE_SIGNING_SECRET",
            description="What LoopPause signs answers with; or set LOOPPAUSE_PUBLIC_KEYS.",
            required=False,
        ),
        EnvVar(
            name="LOOPPAUSE_PUBLIC_KEYS",
            description="A JSON array of Ed25519 keys that sign answers, instead of a secret.",
            required=False,
        ),
        EnvVar(
            name="LOOPPAUSE_API_URL",
            description="The API's address, where it is not LoopPause's own.",
            required=False,
        ),
        EnvVar(
            name="LOOPPAUSE_WEBHOOK_URL",
            description="Where LoopPause delivers answers: the receiver's address.",
            required=False,
        ),
        EnvVar(
            name="LOOPPAUSE_RECEIVER_URL",
            description="Where to wait for answers instead of asking LoopPause again and again.",
            required=False,
        ),
        EnvVar(
            name="LOOPPAUSE_RECEIVER_TOKEN",
            description="What the receiver lets its readers in with.",
            required=False,
        ),
    ]


class HumanApprovalInput(BaseModel):
    """What the LLM fills in when it asks."""

    action_description: str = Field(
        min_length=1,
        description="One or two plain sentences: what will happen, to whom, and how much of it.",
    )
    action_details: dict[str, Any] = Field(
        default_factory=dict,
        description="The same as data: every amount, recipient and identifier involved.",
    )
    action_type: str = Field(
        default="agent_action",
        description="A short label for this kind of action, such as payment or deletion.",
    )


class HumanApprovalTool(StoppingTool):
    """Lets the agent ask a person, and tells it `APPROVED` or `DENIED`. Prefer `gated`.

    The LLM writes what the person reads, and decides by itself what to do with the answer:
    nothing ties an approval to the tool that is called next. It can ask about 10 and pay 10,000,
    ask after it has paid, or not ask at all. `gated` asks in the tool that acts, about the
    arguments it will run with. Use this one only where there is no such tool, for instance to
    have a text approved.

    `slack_channel` and `fallback_email` say who is asked, or `recipients` does, as LoopPause
    takes it. Without `client` one is made from the environment, at `base_url` if given. The
    others are those of `gated`. Where no decision can be had, the crew stops, as with `gated`.
    Raises `LoopPauseConfigError`, also for an argument it does not know.
    """

    name: str = "request_human_approval"
    description: str = (
        "Asks a person whether an action may happen, and waits for the answer. Use it before "
        "anything that cannot be undone. Unless the answer begins with APPROVED, do not do it."
    )
    args_schema: type[BaseModel] = HumanApprovalInput
    env_vars: list[EnvVar] = Field(default_factory=_env_vars)

    agent_id: str = "crewai-agent"
    slack_channel: str | None = None
    fallback_email: str | None = None
    require_human: bool = True
    timeout_hours: float = 24
    base_url: str | None = None
    recipients: list[dict[str, Any]] | None = None
    form: dict[str, Any] | None = None
    escalation: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    webhook_url: str | None = None
    deadline_seconds: float | None = None

    _client: LoopPauseClient = PrivateAttr()

    def __init__(
        self,
        *,
        agent_id: str = "crewai-agent",
        slack_channel: str | None = None,
        fallback_email: str | None = None,
        require_human: bool = True,
        timeout_hours: float = 24,
        client: LoopPauseClient | None = None,
        base_url: str | None = None,
        recipients: Objects | None = None,
        form: Object | None = None,
        escalation: Object | None = None,
        metadata: Object | None = None,
        webhook_url: str | None = None,
        deadline_seconds: float | None = None,
        **tool: Any,
    ) -> None:
        _check_known(tool)
        check_deadline(deadline_seconds)
        settings: dict[str, Any] = {
            **tool,
            "agent_id": agent_id,
            "slack_channel": slack_channel,
            "fallback_email": fallback_email,
            "require_human": require_human,
            "timeout_hours": timeout_hours,
            "base_url": base_url,
            "form": form,
            "escalation": escalation,
            "metadata": metadata,
            "webhook_url": webhook_url,
            "deadline_seconds": deadline_seconds,
            "recipients": None if recipients is None else list(recipients),
            "cache_function": never_cached,
        }
        super().__init__(**settings)
        self._client = _client(client, base_url, self._recipients())

    @override
    def _run(
        self,
        action_description: str,
        action_details: dict[str, Any] | None = None,
        action_type: str = "agent_action",
    ) -> str | ToolFailure:
        call = ToolCall(action_type, dict(action_details or {}))
        try:
            approval = self._approval(action_description)
            asker = Asker(self._client, approval, self.deadline_seconds)
            result = asker.decide(call)
            if not result["approved"]:
                return Denial(_denied(result))
            return _approved(action_description, result)
        except Exception as error:  # noqa: BLE001  # raised, CrewAI would let the crew go on
            return self.stopped(error)

    @override
    async def _arun(self, *args: Any, **kwargs: Any) -> str | ToolFailure:
        return await asyncio.to_thread(self._run, *args, **kwargs)

    def _approval(self, description: str) -> Approval:
        return Approval(
            agent_id=self.agent_id,
            recipients=self._recipients(),
            description=description,
            form=self.form,
            escalation=self.escalation,
            metadata=self.metadata,
            timeout_hours=self.timeout_hours,
            webhook_url=self.webhook_url,
            require_human=self.require_human,
        )

    def _recipients(self) -> list[dict[str, Any]]:
        if self.recipients:
            return self.recipients
        if self.slack_channel:
            fallback = {"fallback_email": self.fallback_email} if self.fallback_email else {}
            return [{"channel": "slack", "target": self.slack_channel, **fallback}]
        if self.fallback_email:
            return [{"channel": "email", "target": self.fallback_email}]
        return []


def _check_known(tool: Mapping[str, Any]) -> None:
    # `tool_type` is in what CrewAI dumps and restores; caching an answer is not for sale.
    known = {*BaseTool.model_fields, "tool_type"}
    if unknown := sorted(set(tool) - known):
        raise LoopPauseConfigError(f"HumanApprovalTool has no argument {', '.join(unknown)}")


def _client(
    client: LoopPauseClient | None, base_url: str | None, recipients: list[dict[str, Any]]
) -> LoopPauseClient:
    faults = [] if recipients else ["nobody to ask: pass slack_channel, fallback_email or both"]
    if client is None:
        faults += _missing()
    elif base_url is not None:
        faults.append("base_url is the client's own: pass it there, or pass no client")
    if faults:
        raise LoopPauseConfigError(f"HumanApprovalTool cannot start: {'; '.join(faults)}")
    return LoopPauseClient(base_url=base_url) if client is None else check_client(client)


def _missing() -> list[str]:
    # What is wrong with a file, the client says.
    named = {name.removesuffix("_FILE") for name, value in os.environ.items() if value}
    missing = [] if "LOOPPAUSE_API_KEY" in named else ["LOOPPAUSE_API_KEY"]
    if named.isdisjoint(_KEYS):
        missing.append("LOOPPAUSE_SIGNING_SECRET (or LOOPPAUSE_PUBLIC_KEYS)")
    return [f"set {' and '.join(missing)}, or pass client"] if missing else []


def _denied(result: GateResult) -> str:
    why = DENIAL_REASONS.get(result["halt_reason"] or "", "nobody approved it")
    return f"DENIED: do not do it, because {why}.{_comment(result)}"


def _approved(description: str, result: GateResult) -> str:
    text = (
        f"APPROVED by {result['responder']} at {result['responded_at']} "
        f"(pause {result['pause_id']})."
    )
    text += _comment(result)
    if result["fields"]:
        text += f" The reviewer filled in: {json.dumps(result['fields'], ensure_ascii=False)}."
    return f"{text} This approves only, and only once: {description}"


def _comment(result: GateResult) -> str:
    return f' The reviewer wrote: "{result["comment"]}".' if result["comment"] else ""
