"""Answers of Anthropic's Messages API."""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer, sometimes

StopReason = Literal["end_turn", "max_tokens", "tool_use"]


class TextContent(Answer):
    """What the model says."""

    type: Literal["text"]
    text: str


class ThinkingContent(Answer):
    """What the model thought."""

    type: Literal["thinking"]
    thinking: str
    signature: str
    """Empty: nothing is signed here."""


class ToolUseContent(Answer):
    """A call that the model wants made."""

    type: Literal["tool_use"]
    id: str
    """What `tool_result` has to name."""
    name: str
    input: Any
    """An object, unless the model wrote something else."""


Content = TextContent | ThinkingContent | ToolUseContent


class MessageUsage(Answer):
    """Counts of tokens."""

    cache_read_input_tokens: int
    """Tokens of the prompt that the cache had."""
    input_tokens: int
    """The others."""
    output_tokens: int


class MessageHead(Answer):
    """A message that begins."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Content]
    stop_reason: None
    stop_sequence: None
    usage: MessageUsage


class WholeMessage(Answer):
    """The answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Content]
    stop_reason: StopReason
    stop_sequence: str | None
    """Which of `stop_sequences` ended it; then `stop_reason` is `end_turn`, as in llama-server."""
    usage: MessageUsage


class MessageStart(Answer):
    """The first event."""

    type: Literal["message_start"]
    message: MessageHead


class ContentStart(Answer):
    """A block begins, empty."""

    type: Literal["content_block_start"]
    index: int
    content_block: Content


class ContentGrowth(Answer):
    """What a block grows by: the field that goes with the type."""

    type: Literal["text_delta", "thinking_delta", "signature_delta", "input_json_delta"]
    text: str = sometimes()
    thinking: str = sometimes()
    signature: str = sometimes()
    partial_json: str = sometimes()


class ContentDelta(Answer):
    """A block grows."""

    type: Literal["content_block_delta"]
    index: int
    delta: ContentGrowth


class ContentStop(Answer):
    """A block ends."""

    type: Literal["content_block_stop"]
    index: int


class MessageEnd(Answer):
    """Why the message ends."""

    stop_reason: StopReason
    stop_sequence: str | None


class OutputUsage(Answer):
    output_tokens: int


class MessageDeltaEvent(Answer):
    """The end of the message."""

    type: Literal["message_delta"]
    delta: MessageEnd
    usage: OutputUsage


class MessageStop(Answer):
    """The last event."""

    type: Literal["message_stop"]


MessageEvent = (
    MessageStart | ContentStart | ContentDelta | ContentStop | MessageDeltaEvent | MessageStop
)
