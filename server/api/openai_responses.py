"""OpenAI's Responses API: `POST /v1/responses`, a chat in other shapes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from ...chat import ChatMessage, MessageDelta
from ..answer import Format
from ..body import read_body
from ..chat_task import chat_task
from ..choice import Choice, Delta
from ..endpoint import describes
from ..generation import Generation
from ..requests.chat import ChatBody
from ..requests.openai_responses import ResponsesBody
from ..response_items import CallItem, Event, Item, MessageItem, ReasoningItem, TextItem, items_of
from ..responses.error import ErrorAnswer
from ..responses.openai_responses import ResponseEvent, WholeResponse
from ..shapes import new_id, timings_json
from ..state import Serving, serving
from ..wire import named_event

router = APIRouter()


@router.post("/v1/responses")
@router.post("/responses")
@describes(
    answer=WholeResponse,
    event=ResponseEvent | ErrorAnswer,
    body=ResponsesBody,
    example={"input": "Hello", "max_output_tokens": 32},
)
async def responses(request: Request) -> Response:
    """The next items of a conversation: OpenAI's Responses API.

    Answers are not kept: each request brings the whole conversation.
    """
    server = serving(request)
    body = await read_body(request, ResponsesBody)
    chat = ChatBody.read(body.chat(), server)
    task = await chat_task(chat, server)
    return await task.respond(request, Responses(server, chat, body.tools, task.wanted))


class Responses(Format):
    """Shapes of OpenAI's responses. Items of a stream are closed at its end, as in llama-server."""

    def __init__(
        self, server: Serving, chat: ChatBody, tools: list[dict[str, Any]], wanted: Generation
    ) -> None:
        self._wanted = wanted
        self._vocabulary = server.vocabulary
        self._head = {
            "id": new_id("resp_"),
            "object": "response",
            "created_at": int(time.time()),
            "model": server.settings.model_name,
            "parallel_tool_calls": chat.parallel_tool_calls,
            "tool_choice": chat.tool_choice,
            "tools": tools,
        }
        self._n_events = 0
        self._items: dict[str, Item] = {}

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """What the items grew by."""
        return self._send([*self._start(), *self._grown(delta)], choice)

    def last(self, choice: Choice) -> bytes:
        """The end of every item, and of the response."""
        self._settle(choice.message)
        ended = [
            event for key in self._items for event in self._numbered(key, self._items[key].end())
        ]
        response = self._response(choice, list(self._items.values()))
        completed = {"type": "response.completed", "response": response}
        return self._send([*self._start(), *ended, completed], choice, last=True)

    def progress(self, choice: Choice) -> bytes:
        """How far the prompt is."""
        response = {**self._head, "status": "in_progress", "output": []}
        events = [*self._start()] or [{"type": "response.in_progress", "response": response}]
        events[-1]["prompt_progress"] = choice.progress
        return self._send(events, choice)

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """Nothing."""
        return b""

    def whole(self, choices: Sequence[Choice]) -> Any:
        """Everything in one body."""
        return self._response(choices[0], items_of(choices[0].message))

    def _send(self, events: list[Event], choice: Choice, *, last: bool = False) -> bytes:
        if events and (last or self._wanted.timings_per_token):
            events[-1]["timings"] = timings_json(choice.timings)
        return b"".join(self._encode(event) for event in events)

    def _encode(self, event: Event) -> bytes:
        numbered = {**event, "sequence_number": self._n_events}
        self._n_events += 1
        return named_event(event["type"], numbered)

    def _start(self) -> Iterator[Event]:
        if self._n_events == 0:
            response = {**self._head, "status": "in_progress", "output": []}
            for kind in ("created", "in_progress"):
                yield {"type": f"response.{kind}", "response": response}

    def _grown(self, delta: Delta) -> Iterator[Event]:
        for grown in delta.message:
            key, piece = _place(grown)
            if key not in self._items:
                self._items[key] = _item(grown)
                yield from self._numbered(key, self._items[key].begin())
            if piece:
                yield from self._numbered(key, [self._items[key].grow(piece)])

    def _settle(self, message: ChatMessage) -> None:
        wholes = {"reasoning": message.reasoning_content, "message": message.content}
        for key, text in wholes.items():
            item = self._items.get(key)
            if isinstance(item, TextItem):
                item.settle(text)

    def _numbered(self, key: str, events: list[Event]) -> Iterator[Event]:
        index = list(self._items).index(key)
        return ({**event, "output_index": index} for event in events)

    def _response(self, choice: Choice, items: list[Item]) -> dict[str, Any]:
        cut = choice.stop_type == "limit"
        return {
            **self._head,
            "completed_at": int(time.time()),
            "status": "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [item.shape() for item in items],
            "usage": self._usage(choice),
        }

    def _usage(self, choice: Choice) -> dict[str, Any]:
        n_prompt, n_output = len(choice.prompt), choice.n_predicted
        thoughts = choice.message.reasoning_content
        tokens = self._vocabulary.tokenize(thoughts, add_special=False, parse_special=False)
        return {
            "input_tokens": n_prompt,
            "output_tokens": n_output,
            "total_tokens": n_prompt + n_output,
            "input_tokens_details": {"cached_tokens": choice.timings.cache_n},
            "output_tokens_details": {"reasoning_tokens": min(len(tokens), n_output)},
        }


def _place(delta: MessageDelta) -> tuple[str, str]:
    """Which item grows, and by what."""
    if delta.call is not None:
        return f"call {delta.index}", delta.call.arguments
    if delta.reasoning_content:
        return "reasoning", delta.reasoning_content
    return "message", delta.content


def _item(delta: MessageDelta) -> Item:
    if delta.call is not None:
        return CallItem(delta.call)
    if delta.reasoning_content:
        return ReasoningItem(new_id("rs_"))
    return MessageItem(new_id("msg_"))
