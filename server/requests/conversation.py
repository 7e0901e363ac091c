"""Bodies of `/v1/chat/completions` and `/apply-template`: a conversation, with or without how to
answer it. Messages are checked before a template sees them; what else they carry goes with them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator, with_config
from typing_extensions import NotRequired, Self, TypedDict

from ..conversation import Conversation
from ..errors import ApiError, wrong
from . import not_yet
from .base import RequestBody
from .generation import GenerationBody
from .types import Natural

OPEN = ConfigDict(extra="allow", strict=True)


@with_config(OPEN)
class TextPart(TypedDict):
    """A part of a message."""

    type: Literal["text"]
    text: str


@with_config(OPEN)
class Message(TypedDict):
    """Who says what. A message without `content` needs `tool_calls`."""

    role: str
    content: NotRequired[str | list[TextPart] | None]


def _contents(messages: list[Message]) -> list[Message]:
    for i, message in enumerate(messages):
        if "content" not in message and not message.get("tool_calls"):
            raise ApiError(f"messages[{i}] has no 'content'")
    return messages


class ConversationBody(RequestBody):
    """Messages and what the model's template is told beside them."""

    not_yet = not_yet.CHAT

    messages: Annotated[list[Message], Field(min_length=1), AfterValidator(_contents)]
    """The conversation so far; `content` is a string or a list of parts of type `text`."""
    add_generation_prompt: bool = True
    """End the prompt where the assistant begins."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Variables of the template, such as `enable_thinking` (true or false)."""
    reasoning_effort: str = ""
    """A variable of the template; `none` sets `enable_thinking` to false."""

    @property
    def conversation(self) -> Conversation:
        """What a chat template is given. Raises `ApiError`."""
        return Conversation(
            [dict(message) for message in self.messages],
            self.add_generation_prompt,
            self._template_kwargs(),
        )

    def _template_kwargs(self) -> dict[str, Any]:
        kwargs = dict(self.chat_template_kwargs)
        if not isinstance(kwargs.get("enable_thinking", True), bool):
            raise wrong("enable_thinking", "true or false", kwargs["enable_thinking"])
        if self.reasoning_effort == "none":
            kwargs["enable_thinking"] = False
            kwargs.pop("reasoning_effort", None)
        elif self.reasoning_effort:
            kwargs["reasoning_effort"] = self.reasoning_effort
        return kwargs


class ChatBody(ConversationBody, GenerationBody):
    """A conversation and how to answer it."""

    logprobs: bool = False
    """Log-probabilities of the answer's tokens."""
    top_logprobs: Natural = 20
    """So many most likely tokens with each; only with `logprobs`."""

    @model_validator(mode="after")
    def _logprobs_go_together(self) -> Self:
        if self.given("top_logprobs") and not self.logprobs:
            raise wrong("top_logprobs", "it together with logprobs: true", self.top_logprobs)
        return self

    @property
    def n_alternatives(self) -> int:
        return self.top_logprobs if self.logprobs else self.n_probs
