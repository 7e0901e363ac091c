"""What a request to OpenAI's Responses API brings as `input`: items, and the messages they become.

Source of the rules: `server_chat_convert_responses_to_chatcmpl` in llama.cpp's
`tools/server/server-chat.cpp`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, with_config
from typing_extensions import NotRequired, TypedDict

from .conversation import OPEN
from .types import unexpected

OWN_KEYS = frozenset({"id", "type", "status", "role", "content"})
"""Of an item; what else it has goes with its message."""


@with_config(OPEN)
class InputText(TypedDict):
    """What somebody said."""

    type: Literal["input_text"]
    text: str


@with_config(OPEN)
class InputMessage(TypedDict):
    """A message of anybody's but the model's."""

    type: NotRequired[Literal["message"]]
    role: Literal["user", "system", "developer"]
    content: str | list[InputText]


@with_config(OPEN)
class OutputText(TypedDict):
    """What the model said."""

    type: Literal["output_text", "input_text"]
    text: str


@with_config(OPEN)
class Refusal(TypedDict):
    """What the model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


def _part(value: Any) -> str:
    return "refusal" if isinstance(value, dict) and value.get("type") == "refusal" else "text"


OutputPart = Annotated[
    Annotated[OutputText, Tag("text")] | Annotated[Refusal, Tag("refusal")], Discriminator(_part)
]


@with_config(OPEN)
class OutputMessage(TypedDict):
    """A message of the model's."""

    type: NotRequired[Literal["message"]]
    role: Literal["assistant"]
    content: str | list[OutputPart]


@with_config(OPEN)
class CallItem(TypedDict):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


@with_config(OPEN)
class CallOutputItem(TypedDict):
    """What a call returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputText]


@with_config(OPEN)
class ReasoningText(TypedDict):
    """What the model thought."""

    text: str


@with_config(OPEN)
class ReasoningItem(TypedDict):
    """What the model thought before it answered or called."""

    type: Literal["reasoning"]
    content: Annotated[list[ReasoningText], Field(min_length=1)]


KINDS = ("message", "function_call", "function_call_output", "reasoning")


def _known(value: Any) -> Any:
    kind = value.get("type", "message") if isinstance(value, dict) else value
    if kind not in KINDS:
        raise unexpected(f"an item of type {', '.join(KINDS)}", kind)
    return value


def _kind(item: Any) -> str:
    kind: str = item.get("type", "message")
    return "assistant" if kind == "message" and item.get("role") == "assistant" else kind


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[OutputMessage, Tag("assistant")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
    BeforeValidator(_known),
]


def messages_of(items: str | list[Any]) -> list[dict[str, Any]]:
    """The messages of a chat. What the model did without a pause is one message."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    messages: list[dict[str, Any]] = []
    for item in items:
        _add(messages, item)
    return messages


def _add(messages: list[dict[str, Any]], item: dict[str, Any]) -> None:
    kind = _kind(item)
    if kind == "function_call":
        call = {"name": item["name"], "arguments": item["arguments"]}
        message = _assistant(messages)
        tool_call = {"id": item["call_id"], "type": "function", "function": call}
        message.setdefault("tool_calls", []).append(tool_call)
    elif kind == "reasoning":
        message = _assistant(messages)
        message.setdefault("content", [])
        message["reasoning_content"] = item["content"][0]["text"]
    elif kind == "assistant":
        _add_said(messages, item)
    elif kind == "function_call_output":
        content = _parts(item["output"]) if isinstance(item["output"], list) else item["output"]
        messages.append({"role": "tool", "content": content, "tool_call_id": item["call_id"]})
    else:
        messages.append(_message(item))


def _assistant(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The model's message that grows."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant"})
    return messages[-1]


def _add_said(messages: list[dict[str, Any]], item: dict[str, Any]) -> None:
    if not messages or messages[-1]["role"] != "assistant":
        messages.append(_message(item))
    else:
        before = messages[-1].get("content", [])
        messages[-1]["content"] = [*before, *_parts(item["content"])]


def _message(item: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in item.items() if key not in OWN_KEYS}
    return {**rest, "role": item["role"], "content": _parts(item["content"])}


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{"type": "text", "text": part.get("refusal", part.get("text"))} for part in content]
