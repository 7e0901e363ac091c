"""A conversation ready to run: prompt, sampling, and how its answers are read.

Whatever API a conversation comes by, it becomes a `ChatBody` first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request, Response

from ..chat import ChatParser, ChatPrompt
from .answer import Format, pieces_of, respond
from .boundaries import prefixes, token_boundaries
from .conversation import Conversation
from .generation import Generation
from .message_reader import Reading
from .prompts import check_length, tokenize
from .requests.chat import ChatBody
from .state import Serving


@dataclass(frozen=True)
class ChatTask:
    """What the engine and the readers of its output are told."""

    prompt: list[int]
    wanted: Generation
    boundaries: tuple[int, ...]
    """Lengths of the prompt from which the next one is likely to go on."""
    reading: Reading

    async def respond(self, request: Request, format: Format) -> Response:
        """Run it. Choices have a `message`, deltas a list of what it grew by."""
        return await respond(
            request, self.wanted, [self.prompt], format, self.boundaries, self.reading
        )


async def chat_task(body: ChatBody, server: Serving) -> ChatTask:
    """Render a conversation. Raises `ApiError`, `ChatError` and `ArgumentError`."""
    conversation = body.conversation(server)
    chat, parser = await render(conversation, server)
    wanted = body.answer(server, chat)
    prompt = await tokenize(chat.prompt, server.vocabulary)
    check_length(prompt, server.info.n_ctx_slot)
    ends = await _boundaries(conversation, chat.prompt, prompt, server)
    return ChatTask(prompt, wanted, ends, Reading(parser, pieces_of(server, chat.preserved_tokens)))


async def render(
    conversation: Conversation, server: Serving
) -> tuple[ChatPrompt, ChatParser | None]:
    """The prompt and the parser of the answer."""
    # A template is a program: a long conversation must not stall the other clients.
    return await asyncio.to_thread(server.vocabulary.render_chat, conversation.request)


async def _boundaries(
    conversation: Conversation, text: str, tokens: list[int], server: Serving
) -> tuple[int, ...]:
    """Where later prompts will go on; asked for only if the engine has to keep states for it."""
    if server.info.facts.get("can_cut", True):
        return ()
    vocabulary = server.vocabulary
    texts = await asyncio.to_thread(prefixes, vocabulary, conversation, text)
    return token_boundaries(texts, text, tokens, server.all_pieces)
