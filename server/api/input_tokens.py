"""How many tokens the prompt of a conversation has, for the three APIs of conversations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..body import read_body
from ..chat_task import render
from ..endpoint import describes
from ..prompts import tokenize
from ..requests.anthropic import MessagesBody
from ..requests.conversation import ConversationBody
from ..requests.openai_responses import ResponsesBody
from ..responses.input_tokens import InputTokens, MessageTokens
from ..state import Serving, serving
from ..wire import json_response

router = APIRouter()

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@router.post("/v1/chat/completions/input_tokens")
@router.post("/chat/completions/input_tokens")
@describes(answer=InputTokens, body=ConversationBody, example=HELLO)
async def chat_input_tokens(request: Request) -> Response:
    """The length of a chat's prompt."""
    body = await read_body(request, ConversationBody)
    return json_response(_openai(await _count(body, serving(request))))


@router.post("/v1/responses/input_tokens")
@router.post("/responses/input_tokens")
@describes(answer=InputTokens, body=ResponsesBody, example={"input": "Hello"})
async def responses_input_tokens(request: Request) -> Response:
    """The length of the prompt of a response."""
    server = serving(request)
    body = await read_body(request, ResponsesBody)
    return json_response(_openai(await _count(ConversationBody.read(body.chat(), server), server)))


@router.post("/v1/messages/count_tokens")
@describes(answer=MessageTokens, body=MessagesBody, example=HELLO)
async def count_message_tokens(request: Request) -> Response:
    """The length of the prompt of a message."""
    server = serving(request)
    body = await read_body(request, MessagesBody)
    n = await _count(ConversationBody.read(body.chat(), server), server)
    return json_response({"input_tokens": n})


async def _count(body: ConversationBody, server: Serving) -> int:
    chat, _ = await render(body.conversation(server), server)
    return len(await tokenize(chat.prompt, server.vocabulary))


def _openai(n: int) -> dict[str, Any]:
    return {"input_tokens": n, "object": "response.input_tokens"}
