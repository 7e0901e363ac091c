"""`POST /v1/chat/completions`, and `/apply-template`, which stops before the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from ...chat import ChatMessage, MessageDelta, ToolCall
from ..answer import Format
from ..body import read_body
from ..chat_task import chat_task, render
from ..choice import Choice, Delta
from ..endpoint import describes
from ..generation import Generation
from ..requests.chat import ChatBody
from ..requests.conversation import ConversationBody
from ..responses.error import ErrorAnswer
from ..responses.openai import ChatCompletion, ChatCompletionChunk
from ..responses.tokens import RenderedPrompt
from ..shapes import finish_reason, reports_json
from ..state import Serving, serving
from ..wire import json_response
from .openai import Envelope

router = APIRouter()


@router.post("/v1/chat/completions")
@router.post("/chat/completions")
@describes(
    answer=ChatCompletion,
    event=ChatCompletionChunk | ErrorAnswer,
    body=ChatBody,
    example={
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 32,
        "stream": True,
    },
)
async def chat_completions(request: Request) -> Response:
    """The next message of a conversation.

    The prompt is made by the model file's own template.
    """
    server = serving(request)
    task = await chat_task(await read_body(request, ChatBody), server)
    return await task.respond(request, Chat(server, task.wanted))


@router.post("/apply-template")
@describes(
    answer=RenderedPrompt,
    body=ConversationBody,
    example={"messages": [{"role": "user", "content": "Hello"}]},
)
async def apply_template(request: Request) -> Response:
    """The prompt that a conversation becomes.

    The engine is not asked.
    """
    server = serving(request)
    body = await read_body(request, ConversationBody)
    chat, _ = await render(body.conversation(server), server)
    return json_response({"prompt": chat.prompt})


class Chat(Format):
    """Shapes of OpenAI's chat completions."""

    def __init__(self, server: Serving, wanted: Generation) -> None:
        self._envelope = Envelope(server, wanted, "chat.completion", "chat.completion.chunk")
        self._begun: set[int] = set()

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """New text; the role goes before the first."""
        return self._role(choice) + self._text(choice, delta)

    def progress(self, choice: Choice) -> bytes:
        """How far the prompt is; with the role, as in llama-server."""
        shape = {
            "finish_reason": None,
            "index": choice.index,
            "delta": {"role": "assistant", "content": None},
        }
        extras = self._envelope.extras(choice, last=False)
        return self._envelope.chunk(shape, prompt_progress=choice.progress, **extras)

    def last(self, choice: Choice) -> bytes:
        """Why the choice ended."""
        end = self._chunk(choice, {}, finish_reason(choice), last=True)
        return self._role(choice) + end

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """The end of the stream."""
        return self._envelope.end(choices)

    def whole(self, choices: Sequence[Choice]) -> Any:
        """Everything in one body."""
        return self._envelope.answer(choices, [self._shape(choice) for choice in choices])

    def _role(self, choice: Choice) -> bytes:
        if choice.index in self._begun:
            return b""
        self._begun.add(choice.index)
        return self._chunk(choice, {"role": "assistant", "content": None}, None)

    def _text(self, choice: Choice, delta: Delta) -> bytes:
        logprobs = self._envelope.logprobs(choice, delta)
        *others, last = delta.message or [MessageDelta()]
        chunks = [self._grown(choice, other) for other in others]
        return b"".join([*chunks, self._grown(choice, last, logprobs)])

    def _grown(self, choice: Choice, delta: MessageDelta, logprobs: Any = None) -> bytes:
        if self._envelope.plain and delta.content:
            before = b'{"finish_reason":null,"index":%d,"delta":{"content":' % choice.index
            return self._envelope.text_chunk(before, delta.content, b"}}")
        return self._chunk(choice, delta_json(delta), None, logprobs)

    def _chunk(
        self,
        choice: Choice,
        delta: dict[str, Any],
        reason: str | None,
        logprobs: Any = None,
        *,
        last: bool = False,
    ) -> bytes:
        shape = {"finish_reason": reason, "index": choice.index, "delta": delta}
        if last:
            shape |= reports_json(choice)
        if logprobs is not None:
            shape["logprobs"] = logprobs
        timed = last or "role" not in delta
        extras = self._envelope.extras(choice, last=last) if timed else {}
        if last:
            extras |= self._envelope.verbose(choice)
        return self._envelope.chunk(shape, **extras)

    def _shape(self, choice: Choice) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "finish_reason": finish_reason(choice),
            "index": choice.index,
            "message": message_json(choice.message),
            **reports_json(choice),
        }
        logprobs = self._envelope.logprobs(choice)
        return shape if logprobs is None else {**shape, "logprobs": logprobs}


def message_json(message: ChatMessage) -> dict[str, Any]:
    """A whole message; fields beside `content` only where there is something in them."""
    shape: dict[str, Any] = {"role": "assistant", "content": message.content}
    if message.reasoning_content:
        shape["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        shape["tool_calls"] = [_call_json(call) for call in message.tool_calls]
    return shape


def _call_json(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "function": function, "id": call.id}


def delta_json(delta: MessageDelta) -> dict[str, Any]:
    """What a message grew by."""
    if delta.call is not None:
        return {"tool_calls": [_grown_call(delta.index, delta.call)]}
    if delta.reasoning_content:
        return {"reasoning_content": delta.reasoning_content}
    return {"content": delta.content}


def _grown_call(index: int, call: ToolCall) -> dict[str, Any]:
    shape: dict[str, Any] = {"index": index}
    if call.id:
        shape.update(id=call.id, type="function")
    function = {"name": call.name, "arguments": call.arguments}
    if any(function.values()):
        shape["function"] = {key: value for key, value in function.items() if value}
    return shape
