"""A chat model with a script, for agents whose every other part is real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from typing_extensions import override

__all__ = ["ScriptedChat", "call", "calling"]


class ScriptedChat(BaseChatModel):
    """Says the next message of its script, whatever it is asked; holds no state.

    The next one is that after the model's messages it is shown, so it goes on where the thread
    is, in another process too. Where the script ends, it says "done".
    """

    messages: Sequence[AIMessage] = ()

    def __init__(self, messages: Sequence[AIMessage | str]) -> None:
        super().__init__()
        self.messages = [AIMessage(said) if isinstance(said, str) else said for said in messages]

    @property
    @override
    def _llm_type(self) -> str:
        return "scripted"

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        place = sum(isinstance(said, AIMessage) for said in messages)
        found = self.messages[place] if place < len(self.messages) else AIMessage("done")
        # A copy: LangChain gives each message an id, and its middleware may change the calls.
        return ChatResult(generations=[ChatGeneration(message=found.model_copy(deep=True))])


def call(tool: str, /, _id: str = "call-1", **arguments: Any) -> ToolCall:
    """One call of a tool, as a model makes it."""
    return ToolCall(name=tool, args=arguments, id=_id, type="tool_call")


def calling(*calls: ToolCall, text: str = "") -> AIMessage:
    """A message that makes these calls."""
    return AIMessage(text, tool_calls=list(calls))
