"""Anthropic's Messages API: `POST /v1/messages`, a chat in other shapes.

Source of the shapes: `to_json_anthropic` in llama.cpp's `tools/server/server-task.cpp`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from ...chat import ChatMessage, MessageDelta, ToolCall
from ..answer import Format
from ..body import loads, read_body
from ..chat_task import chat_task
from ..choice import Choice, Delta
from ..endpoint import describes
from ..errors import ApiError
from ..requests.anthropic import MessagesBody
from ..requests.chat import ChatBody
from ..responses.anthropic import MessageEvent, WholeMessage
from ..responses.error import Error
from ..shapes import completion_id, finish_reason
from ..state import Serving, serving
from ..wire import named_event

router = APIRouter()

Event = dict[str, Any]
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@router.post("/v1/messages")
@describes(
    answer=WholeMessage,
    event=MessageEvent | Error,
    body=MessagesBody,
    example={"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32},
)
async def messages(request: Request) -> Response:
    """The next message of a conversation: Anthropic's Messages API.

    Errors have the shape of all others, not Anthropic's.
    """
    server = serving(request)
    body = await read_body(request, MessagesBody)
    task = await chat_task(ChatBody.read(body.chat(), server), server)
    return await task.respond(request, Messages(server))


class Messages(Format):
    """Shapes of Anthropic's messages. Blocks of a stream are closed at its end, as in
    llama-server."""

    def __init__(self, server: Serving) -> None:
        self._head = {
            "id": completion_id(),
            "type": "message",
            "role": "assistant",
            "model": server.settings.model_name,
        }
        self._begun = False
        self._blocks: dict[tuple[str, int], int] = {}

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """What the blocks grew by."""
        return _encode([*self._start(choice), *self._grown(delta)])

    def last(self, choice: Choice) -> bytes:
        """The end of every block, and of the message."""
        events = [*self._start(choice), *self._ended(), _end(choice), {"type": "message_stop"}]
        return _encode(events)

    def progress(self, choice: Choice) -> bytes:
        """Nothing, as in llama-server."""
        return b""

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """Nothing."""
        return b""

    def whole(self, choices: Sequence[Choice]) -> Any:
        """Everything in one body."""
        choice = choices[0]
        return {
            **self._head,
            "content": [*_blocks(choice.message)],
            **_stop(choice),
            "usage": {**_prompt_usage(choice), "output_tokens": choice.n_predicted},
        }

    def failure(self, error: ApiError) -> bytes:
        """An event that is the error, with nothing around it."""
        return named_event("error", error.body())

    def _start(self, choice: Choice) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            yield {
                "type": "message_start",
                "message": {
                    **self._head,
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {**_prompt_usage(choice), "output_tokens": 0},
                },
            }

    def _grown(self, delta: Delta) -> Iterator[Event]:
        for grown in delta.message:
            block, pieces = _block(grown), _pieces(grown)
            key = block["type"], grown.index
            if key not in self._blocks:
                self._blocks[key] = len(self._blocks)
                index = self._blocks[key]
                yield {"type": "content_block_start", "index": index, "content_block": block}
            if pieces:
                yield _delta(self._blocks[key], pieces)

    def _ended(self) -> Iterator[Event]:
        for (type, _), index in self._blocks.items():
            if type == "thinking":
                yield _delta(index, {"type": "signature_delta", "signature": ""})
            yield {"type": "content_block_stop", "index": index}


def _encode(events: list[Event]) -> bytes:
    return b"".join(named_event(event["type"], event) for event in events)


def _block(delta: MessageDelta) -> dict[str, Any]:
    """The block that grows, with nothing in it."""
    if delta.call is not None:
        return _tool_use(delta.call, {})
    return _thinking("") if delta.reasoning_content else {"type": "text", "text": ""}


def _pieces(delta: MessageDelta) -> dict[str, Any]:
    """What it grows by; empty for nothing."""
    if delta.call is not None:
        piece = delta.call.arguments
        return {"type": "input_json_delta", "partial_json": piece} if piece else {}
    if delta.reasoning_content:
        return {"type": "thinking_delta", "thinking": delta.reasoning_content}
    return {"type": "text_delta", "text": delta.content}


def _delta(index: int, delta: dict[str, Any]) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _blocks(message: ChatMessage) -> Iterator[dict[str, Any]]:
    if message.reasoning_content:
        yield _thinking(message.reasoning_content)
    if message.content:
        yield {"type": "text", "text": message.content}
    for call in message.tool_calls:
        yield _tool_use(call, _parsed(call.arguments))


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": ""}  # nothing can be signed here


def _tool_use(call: ToolCall, input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": input}


def _parsed(arguments: str) -> Any:
    try:
        return loads(arguments.encode())
    except ApiError:
        return {}  # the answer ended inside


def _prompt_usage(choice: Choice) -> dict[str, int]:
    n_cached = choice.timings.cache_n
    return {"cache_read_input_tokens": n_cached, "input_tokens": len(choice.prompt) - n_cached}


def _stop(choice: Choice) -> dict[str, Any]:
    reason = STOP_REASONS[finish_reason(choice)]
    return {"stop_reason": reason, "stop_sequence": choice.stopping_word or None}


def _end(choice: Choice) -> Event:
    usage = {"output_tokens": choice.n_predicted}
    return {"type": "message_delta", "delta": _stop(choice), "usage": usage}
