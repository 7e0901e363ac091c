"""The `messages` of a chat request, checked before a template sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ApiError, not_supported, shown
from .fields import boolean, mapping, text, wrong


@dataclass(frozen=True)
class Conversation:
    """What a chat template is given."""

    messages: list[dict[str, Any]]
    add_generation_prompt: bool
    template_kwargs: dict[str, Any]


def read_conversation(body: Mapping[str, Any]) -> Conversation:
    """Check roles and contents. Raises `ApiError`."""
    if "messages" not in body:
        raise ApiError("'messages' is required")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "a list of messages, not empty", messages)
    if body.get("tool_choice") not in (None, "auto", "none"):
        raise not_supported("tool_choice", body["tool_choice"])
    return Conversation(
        [_message(message, i) for i, message in enumerate(messages)],
        boolean(body, "add_generation_prompt", True),
        _template_kwargs(body),
    )


def _template_kwargs(body: Mapping[str, Any]) -> dict[str, Any]:
    kwargs = dict(mapping(body, "chat_template_kwargs"))
    if not isinstance(kwargs.get("enable_thinking", True), bool):
        raise wrong("enable_thinking", "true or false", kwargs["enable_thinking"])
    effort = text(body, "reasoning_effort")
    if effort == "none":
        kwargs["enable_thinking"] = False
        kwargs.pop("reasoning_effort", None)
    elif effort:
        kwargs["reasoning_effort"] = effort
    return kwargs


def _message(message: Any, i: int) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise wrong(f"messages[{i}]", "an object", message)
    if not isinstance(message.get("role"), str):
        raise wrong(f"messages[{i}].role", "a string", message.get("role"))
    if "content" not in message and not message.get("tool_calls"):
        raise ApiError(f"messages[{i}] has no 'content'")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return message
    if not isinstance(content, list):
        raise wrong(f"messages[{i}].content", "a string or a list of parts", content)
    return {**message, "content": [_part(part, i) for part in content]}


def _part(part: Any, i: int) -> dict[str, Any]:
    where = f"messages[{i}].content"
    if not isinstance(part, dict):
        raise wrong(where, "parts that are objects", part)
    if part.get("type") != "text":
        raise ApiError(
            f"Field '{where}': parts of type {shown(part.get('type'))} are not supported yet; "
            "send parts of type 'text'"
        )
    if not isinstance(part.get("text"), str):
        raise wrong(f"{where}.text", "a string", part.get("text"))
    return part
