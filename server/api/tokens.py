"""`POST /tokenize` and `/detokenize`."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from ..body import read_object
from ..fields import boolean, wrong
from ..prompts import checked_token, tokenize
from ..state import serving
from ..wire import json_response

router = APIRouter()


@router.post("/tokenize")
async def tokenize_content(request: Request) -> Response:
    """`content` as tokens, with their pieces if `with_pieces`."""
    body = await read_object(request)
    server = serving(request)
    if body.get("content") is None:
        return json_response({"tokens": []})
    tokens = await tokenize(
        body["content"],
        server.vocabulary,
        add_special=boolean(body, "add_special"),
        parse_special=boolean(body, "parse_special", True),
        field="content",
    )
    if not boolean(body, "with_pieces"):
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
async def detokenize(request: Request) -> Response:
    """`tokens` as text."""
    body = await read_object(request)
    server = serving(request)
    tokens: Any = body.get("tokens")
    if tokens is None:
        tokens = []
    if not isinstance(tokens, list):
        raise wrong("tokens", "a list of token ids", tokens)
    checked = [checked_token(token, server.vocabulary, "tokens") for token in tokens]
    content = await asyncio.to_thread(server.all_pieces.join, checked)
    return json_response({"content": content.decode("utf-8", "replace")})
