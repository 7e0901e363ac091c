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
from ..endpoint import describes
from ..generation import Generation
from ..prompts import check_length, tokenize
from ..requests.conversation import ChatBody, ConversationBody
from ..responses.error import ErrorAnswer
from ..responses.openai import ChatCompletion, ChatCompletionChunk
from ..responses.tokens import RenderedPrompt
from ..shapes import finish_reason, reports_json
from ..state import ChatPrompt, Serving, serving
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
@describes(
    answer=RenderedPrompt,
    body=ConversationBody,
    example={"messages": [{"role": "user", "content": "Hello"}]},
)
async def apply_template(request: Request) -> Response:
    """The prompt that a conversation becomes.

    The engine is not asked.
    """
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
        chat_template_kwargs={
            **server.settings.chat_template_kwargs,
            **conversation.template_kwargs,
        },
        template=server.settings.chat_template or None,
    )


class Chat:
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
        if last:
            shape |= reports_json(choice)
        if logprobs is not None:
            shape["logprobs"] = logprobs
        timed = last or "content" in delta
        extras = self._envelope.extras(choice, last=last) if timed else {}
        if last:
            extras |= self._envelope.verbose(choice)
        return self._envelope.chunk(shape, **extras)

    def _shape(self, choice: Choice) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "finish_reason": finish_reason(choice),
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.text},
            **reports_json(choice),
        }
        logprobs = self._envelope.logprobs(choice)
        return shape if logprobs is None else {**shape, "logprobs": logprobs}
