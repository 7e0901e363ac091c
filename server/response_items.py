"""An answer as the items of OpenAI's Responses API, and the events by which they grow.

What numbers an event is added by who sends it.
Source of the shapes: `to_json_oaicompat_resp` in llama.cpp's `tools/server/server-task.cpp`; what
OpenAI's own clients want beside them is OpenAI's.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..chat import ChatMessage, ToolCall
from .shapes import new_id

Event = dict[str, Any]


class Item(Protocol):
    """A part of an answer."""

    def shape(self, status: str = "completed") -> dict[str, Any]:
        """What there is of it."""
        ...

    def begin(self) -> list[Event]:
        """Before its first piece."""
        ...

    def grow(self, piece: str) -> Event:
        """Add a piece."""
        ...

    def end(self) -> list[Event]:
        """After its last piece."""
        ...


class TextItem:
    """What has a text."""

    def __init__(self, id: str, text: str = "") -> None:
        self._id = id
        self._pieces = [text] if text else []

    def settle(self, text: str) -> None:
        """The whole text: an answer that goes on with a message has that before its pieces."""
        self._pieces = [text] if text else self._pieces

    @property
    def text(self) -> str:
        return "".join(self._pieces)


class ReasoningItem(TextItem):
    """What the model thought."""

    def shape(self, status: str = "completed") -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "reasoning",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": self.text}] if self._pieces else [],
            "encrypted_content": "",
            "status": status,
        }

    def begin(self) -> list[Event]:
        return [_added(self)]

    def grow(self, piece: str) -> Event:
        self._pieces.append(piece)
        return self._event("delta", "delta", piece)

    def end(self) -> list[Event]:
        return [self._event("done", "text", self.text), _done(self)]

    def _event(self, kind: str, key: str, text: str) -> Event:
        type = f"response.reasoning_text.{kind}"
        return {"type": type, "item_id": self._id, "content_index": 0, key: text}


class MessageItem(TextItem):
    """What the model said."""

    def shape(self, status: str = "completed") -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "content": [self._part()] if self._pieces else [],
            "status": status,
        }

    def begin(self) -> list[Event]:
        return [_added(self), {**self._head("content_part.added"), "part": self._part()}]

    def grow(self, piece: str) -> Event:
        self._pieces.append(piece)
        return {**self._head("output_text.delta"), "delta": piece, "logprobs": []}

    def end(self) -> list[Event]:
        part = self._part()
        said = {**self._head("output_text.done"), "text": part["text"], "logprobs": []}
        return [said, {**self._head("content_part.done"), "part": part}, _done(self)]

    def _part(self) -> dict[str, Any]:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": self.text}

    def _head(self, kind: str) -> Event:
        return {"type": f"response.{kind}", "item_id": self._id, "content_index": 0}


class CallItem:
    """A call that the model wants made."""

    def __init__(self, call: ToolCall, arguments: str = "") -> None:
        self._call = call
        self._pieces = [arguments]

    def shape(self, status: str = "completed") -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "arguments": "".join(self._pieces),
            "call_id": f"call_{self._call.id}",
            "name": self._call.name,
        }

    def begin(self) -> list[Event]:
        return [_added(self)]

    def grow(self, piece: str) -> Event:
        self._pieces.append(piece)
        return self._event("delta", delta=piece)

    def end(self) -> list[Event]:
        arguments = "".join(self._pieces)
        return [self._event("done", arguments=arguments, name=self._call.name), _done(self)]

    @property
    def _id(self) -> str:
        return f"fc_{self._call.id}"

    def _event(self, kind: str, **more: Any) -> Event:
        return {"type": f"response.function_call_arguments.{kind}", "item_id": self._id, **more}


def items_of(message: ChatMessage) -> list[Item]:
    """A whole answer."""
    items: list[Item] = []
    if message.reasoning_content:
        items.append(ReasoningItem(new_id("rs_"), message.reasoning_content))
    if message.content:
        items.append(MessageItem(new_id("msg_"), message.content))
    return [*items, *(CallItem(call, call.arguments) for call in message.tool_calls)]


def _added(item: Item) -> Event:
    return {"type": "response.output_item.added", "item": item.shape("in_progress")}


def _done(item: Item) -> Event:
    return {"type": "response.output_item.done", "item": item.shape()}
