"""Bodies of Anthropic's `/v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, with_config
from typing_extensions import NotRequired, TypedDict

from ...sampling import SamplingParams
from .anthropic_blocks import BlockMessage, TextBlock, messages_of, system_text
from .base import RequestBody
from .conversation import OPEN
from .sampling import Temperature
from .types import Limit, Share, Strings, whole

CHOICES = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}
"""Of a `tool` without a name, too."""


@with_config(OPEN)
class Tool(TypedDict):
    """A function that the model may call."""

    name: str
    description: NotRequired[str | None]
    input_schema: NotRequired[dict[str, Any]]


@with_config(OPEN)
class ToolChoice(TypedDict):
    """Whether the model may, must or must not call one."""

    type: Literal["auto", "any", "tool", "none"]
    name: NotRequired[str | None]
    disable_parallel_tool_use: NotRequired[bool | None]


@with_config(OPEN)
class Thinking(TypedDict):
    """How much the model thinks."""

    type: str
    budget_tokens: NotRequired[Limit]


@with_config(OPEN)
class OutputFormat(TypedDict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


@with_config(OPEN)
class OutputConfig(TypedDict):
    """What the answer is like."""

    format: NotRequired[OutputFormat | None]


class MessagesBody(RequestBody):
    """A conversation and how to answer it."""

    messages: Annotated[list[BlockMessage], Field(min_length=1)]
    """The conversation so far. If the last one is the assistant's, the answer goes on with it."""
    system: str | list[TextBlock] = ""
    """The system prompt."""
    tools: list[Tool] = Field(default_factory=list)
    """Functions that the model may call."""
    tool_choice: ToolChoice = Field(default_factory=lambda: ToolChoice(type="auto"))
    """`any` has the model call one, whichever, `tool` that of its `name`;
    `disable_parallel_tool_use`: one at most."""
    thinking: Thinking = Field(default_factory=lambda: Thinking(type="adaptive"))
    """With type `enabled`, most tokens of thinking (`budget_tokens`, default 10000); other types
    change nothing."""
    output_config: OutputConfig = Field(default_factory=OutputConfig)
    """`format`: a JSON schema that the answer fits."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Variables of the template, such as `enable_thinking` (true or false)."""
    max_tokens: Limit = 4096
    """Most tokens of the answer; -1: until the model ends it or the context is full."""
    stop_sequences: Strings = ()
    """End the answer before any of these."""
    temperature: Temperature = SamplingParams.temperature
    """How flat the distribution is made; 0: always the most likely token."""
    top_k: Annotated[int, whole(0, clamp=True)] = SamplingParams.top_k
    """Only so many most likely tokens; 0: all."""
    top_p: Share = SamplingParams.top_p
    """Only the most likely tokens that together have this probability; 1: all."""
    stream: bool = False
    """Send the answer as it grows, as server-sent events."""

    def chat(self) -> dict[str, Any]:
        """The same as the body of `/v1/chat/completions`."""
        passed = ("temperature", "top_k", "top_p", "stream", "chat_template_kwargs")
        return {
            "messages": [
                *self._system(),
                *(m for told in self.messages for m in messages_of(told)),
            ],
            **self._calls(),
            **self._form(),
            "max_tokens": self.max_tokens,
            "stop": list(self.stop_sequences),
            **{name: getattr(self, name) for name in passed if self.given(name)},
            **self._budget(),
        }

    def _system(self) -> list[dict[str, Any]]:
        if not self.given("system"):
            return []
        return [{"role": "system", "content": system_text(self.system)}]

    def _calls(self) -> dict[str, Any]:
        chat: dict[str, Any] = {}
        if self.tools:
            chat["tools"] = [_function(tool) for tool in self.tools]
        if self.given("tool_choice"):
            chat["tool_choice"] = self._choice()
        if self.tool_choice.get("disable_parallel_tool_use"):
            chat["parallel_tool_calls"] = False
        return chat

    def _choice(self) -> str | dict[str, Any]:
        choice = self.tool_choice
        if choice["type"] == "tool" and choice.get("name"):
            return {"type": "function", "function": {"name": choice["name"]}}
        return CHOICES[choice["type"]]

    def _form(self) -> dict[str, Any]:
        form = self.output_config.get("format")
        if form is None:
            return {}
        return {
            "response_format": {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
        }

    def _budget(self) -> dict[str, Any]:
        if self.thinking["type"] != "enabled":
            return {}
        return {"thinking_budget_tokens": self.thinking.get("budget_tokens", 10000)}


def _function(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool["name"],
        "description": tool.get("description") or "",
        "parameters": tool.get("input_schema", {}),
    }
    return {"type": "function", "function": function}
