"""`POST /v1/chat/completions`, and `/apply-template`, which stops before the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from ..answer import respond
from ..body import read_body
from ..boundaries import prefixes, token_boundaries
from ..choice import Choice, Delta
from ..conversation import Conversation
from ..generation import Generation
from ..prompts import check_length, tokenize
from ..requests.conversation import ChatBody, ConversationBody
from ..shapes import finish_reason
from ..state import ChatPrompt, Serving, serving
from ..wire import json_response
from .openai import Envelope

router = APIRouter()


@router.post("/v1/chat/completions")
@router.post("/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    body = await read_body(request, ChatBody)
    server = serving(request)
    conversation = body.conversation
    chat = await _apply_template(conversation, server)
    wanted = body.generation(server, chat.stops)
    prompt = await tokenize(chat.prompt, server.vocabulary)
    check_length(prompt, server.info.n_ctx_slot)
    ends = await _boundaries(conversation, chat.prompt, prompt, server)
    return await respond(request, wanted, [prompt], Chat(server, wanted), ends)


@router.post("/apply-template")
async def apply_template(request: Request) -> Response:
    """The prompt that a conversation becomes."""
    body = await read_body(request, ConversationBody)
    chat = await _apply_template(body.conversation, serving(request))
    return json_response({"prompt": chat.prompt})


async def _boundaries(
    conversation: Conversation, text: str, tokens: list[int], server: Serving
) -> tuple[int, ...]:
    """Where later prompts will go on; asked for only if the engine has to keep states for it."""
    if server.info.facts.get("can_cut", True):
        return ()
    vocabulary = server.vocabulary
    texts = await asyncio.to_thread(prefixes, vocabulary, conversation, text)
    return token_boundaries(texts, text, tokens, server.all_pieces)


async def _apply_template(conversation: Conversation, server: Serving) -> ChatPrompt:
    # A template is a program: a long conversation must not stall the other clients.
    return await asyncio.to_thread(
        server.vocabulary.apply_chat_template,
        conversation.messages,
        add_generation_prompt=conversation.add_generation_prompt,
        chat_template_kwargs=conversation.template_kwargs,
    )


class Chat:
    """Shapes of OpenAI's chat completions."""

    def __init__(self, server: Serving, wanted: Generation) -> None:
        self._envelope = Envelope(server, wanted, "chat.completion", "chat.completion.chunk")
        self._begun: set[int] = set()

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """New text; the role goes before the first."""
        return self._role(choice) + self._text(choice, delta)

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
        if self._envelope.plain:
            before = b'{"finish_reason":null,"index":%d,"delta":{"content":' % choice.index
            return self._envelope.text_chunk(before, delta.text, b"}}")
        logprobs = self._envelope.logprobs(choice, delta)
        return self._chunk(choice, {"content": delta.text}, None, logprobs)

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
        if logprobs is not None:
            shape["logprobs"] = logprobs
        timed = last or "content" in delta
        extras = self._envelope.extras(choice, last=last) if timed else {}
        return self._envelope.chunk(shape, **extras)

    def _shape(self, choice: Choice) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "finish_reason": finish_reason(choice),
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.text},
        }
        logprobs = self._envelope.logprobs(choice)
        return shape if logprobs is None else {**shape, "logprobs": logprobs}
