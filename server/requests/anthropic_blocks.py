"""Messages of Anthropic's API: blocks of content, and the chat messages they become.

Source of the rules: `server_chat_convert_anthropic_to_oai` in llama.cpp's
`tools/server/server-chat.cpp`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag, with_config
from typing_extensions import NotRequired, TypedDict

from .conversation import OPEN
from .types import unexpected

BILLING = re.compile(r"(x-anthropic-billing-header:.*?cch=).{5}(?=;)", re.DOTALL)
"""A stamp that one client puts into its system prompt, another one with each request."""


@with_config(OPEN)
class TextBlock(TypedDict):
    """Something said."""

    type: Literal["text"]
    text: str


@with_config(OPEN)
class ThinkingBlock(TypedDict):
    """What the model thought."""

    type: Literal["thinking"]
    thinking: str


@with_config(OPEN)
class RedactedThinkingBlock(TypedDict):
    """Thoughts that only their author can read; left out."""

    type: Literal["redacted_thinking"]


@with_config(OPEN)
class ToolUseBlock(TypedDict):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


@with_config(OPEN)
class ToolResultBlock(TypedDict):
    """What a call returned."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: NotRequired[str | list[TextBlock] | None]


KINDS = ("text", "thinking", "redacted_thinking", "tool_use", "tool_result")


def _known(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind not in KINDS:
        raise unexpected(f"a block of type {', '.join(KINDS)}", kind)
    return value


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")],
    Discriminator(lambda block: block["type"]),
    BeforeValidator(_known),
]


@with_config(OPEN)
class BlockMessage(TypedDict):
    """Who says what."""

    role: str
    content: str | list[Block]


def system_text(system: str | list[TextBlock]) -> str:
    """The system prompt, the same for the same conversation."""
    texts = [system] if isinstance(system, str) else [block["text"] for block in system]
    return "".join(BILLING.sub(r"\1fffff", text) if BILLING.match(text) else text for text in texts)


def messages_of(message: BlockMessage) -> list[dict[str, Any]]:
    """The chat messages of one: what was said, then what calls returned."""
    content = message["content"]
    if isinstance(content, str):
        return [dict(message)]
    said = _said(message["role"], content)
    return [*said, *(_result(block) for block in content if block["type"] == "tool_result")]


def _said(role: str, content: list[Any]) -> list[dict[str, Any]]:
    texts = [
        {"type": "text", "text": block["text"]} for block in content if block["type"] == "text"
    ]
    thoughts = "".join(block["thinking"] for block in content if block["type"] == "thinking")
    calls = [_call(block) for block in content if block["type"] == "tool_use"]
    if not (texts or thoughts or calls):
        return []
    message: dict[str, Any] = {"role": role, "content": texts or ""}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = thoughts
    return [message]


def _call(block: ToolUseBlock) -> dict[str, Any]:
    arguments = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))
    function = {"name": block["name"], "arguments": arguments}
    return {"id": block["id"], "type": "function", "function": function}


def _result(block: ToolResultBlock) -> dict[str, Any]:
    content = block.get("content") or ""
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": text}
