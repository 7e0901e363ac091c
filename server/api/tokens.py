"""`POST /tokenize` and `/detokenize`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from ..body import read_body
from ..endpoint import describes
from ..prompts import checked_token, tokenize
from ..requests.tokens import DetokenizeBody, TokenizeBody
from ..responses.tokens import Text, Tokens
from ..state import serving
from ..wire import json_response

router = APIRouter()


@router.post("/tokenize")
@describes(
    answer=Tokens,
    body=TokenizeBody,
    example={"content": "Hello world", "with_pieces": True},
    example_answer={"tokens": [{"id": 9906, "piece": "Hello"}, {"id": 1917, "piece": " world"}]},
)
async def tokenize_content(request: Request) -> Response:
    """A text to tokens."""
    body = await read_body(request, TokenizeBody)
    server = serving(request)
    if body.content is None:
        return json_response({"tokens": []})
    tokens = await tokenize(
        body.content,
        server.vocabulary,
        add_special=body.add_special,
        parse_special=body.parse_special,
        field="content",
    )
    if not body.with_pieces:
        return json_response({"tokens": tokens})
    return json_response(
        {"tokens": [{"id": t, "piece": _piece(server.all_pieces[t])} for t in tokens]}
    )


def _piece(piece: bytes) -> str | list[int]:
    """Text, or the bytes of what is not UTF-8 by itself."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


@router.post("/detokenize")
@describes(
    answer=Text,
    body=DetokenizeBody,
    example={"tokens": [72, 105]},
    example_answer={"content": "Hi"},
)
async def detokenize(request: Request) -> Response:
    """Tokens to a text."""
    body = await read_body(request, DetokenizeBody)
    server = serving(request)
    checked = [checked_token(token, server.vocabulary, "tokens") for token in body.tokens]
    content = await asyncio.to_thread(server.all_pieces.join, checked)
    return json_response({"content": content.decode("utf-8", "replace")})
