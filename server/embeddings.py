"""Prompts to embeddings: run on the engine, checked before, normalised after."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import Request

from ..embedding import Rows
from .answer import owner_of, watched
from .auth import key_of
from .choice import check_served
from .errors import ApiError, exceeds_context, not_supported, wrong
from .prompts import split_prompts, tokenize
from .state import Serving, serving

MAX_INT16 = 32760.0


async def embed(request: Request, prompts: list[list[int]]) -> list[Rows] | None:
    """Rows of each prompt; None for a client that left. Raises `ApiError`, `ServerError`."""
    server = serving(request)
    for prompt in prompts:
        check_length(len(prompt), server)
    stream = server.client.stream(owner_of(request))
    rows: list[Rows] = []
    async with watched(request.receive, stream):
        stream.embed(prompts, key=key_of(request), adapters=server.adapters.defaults)
        while not stream.done:
            for output in await stream.take():
                check_served(output)
                rows = output.rows
    return None if stream.closed else rows


def check_length(n_tokens: int, server: Serving) -> None:
    """Raises `ApiError` for a prompt that is empty or too long: for one ubatch, or for the context
    where a prompt can have several."""
    n_ubatch, n_most = int(server.info.facts["n_ubatch"]), int(server.info.facts["n_embed_max"])
    n_ctx = server.info.n_ctx_slot
    if n_tokens == 0:
        raise ApiError("Input content cannot be empty")
    if n_most > n_ubatch and n_tokens >= n_ctx:
        raise exceeds_context(n_tokens, n_ctx)
    if n_tokens > n_most:
        raise ApiError(
            f"input ({n_tokens} tokens) is too large to process. increase the physical batch size "
            f"(current batch size: {n_ubatch})"
        )
    if n_tokens > n_ctx:
        raise ApiError(
            f"input ({n_tokens} tokens) is larger than the max context size ({n_ctx} tokens). "
            "skipping",
            type="exceed_context_size_error",
            n_prompt_tokens=n_tokens,
            n_ctx=n_ctx,
        )


async def read_inputs(value: Any, server: Serving, field: str) -> list[list[int]]:
    """Token lists of one input or several, in every form that llama-server takes. Raises
    `ApiError`."""
    inputs = [
        await tokenize(_text_of(item, field), server.vocabulary, field=field)
        for item in split_prompts(value)
    ]
    if not inputs:
        raise ApiError('"input" must not be empty')
    return inputs


def _text_of(item: Any, field: str) -> Any:
    """The text of an object with a chat message's `content`; anything else as it is."""
    if not isinstance(item, dict) or "content" not in item:
        return item
    parts = item["content"]
    if not isinstance(parts, list):
        raise wrong(f"{field}.content", "a list of parts", parts)
    return "".join(_part(part, field) for part in parts)


def _part(part: Any, field: str) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("text", ""), str):
        raise wrong(f"{field}.content", "parts with a text", part)
    if part.get("type") != "text":
        raise not_supported(f"{field}.content.type", part.get("type"))
    return str(part.get("text", ""))


def normalized(row: Rows, norm: int) -> Rows:
    """One embedding, divided by its norm: -1 none, 0 the largest value at 32760, 1 the sum of
    absolute values, 2 the length, p the p-norm. Source: `common_embd_normalize` in llama.cpp's
    `common/common.cpp`."""
    values = row.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        size = _norm(values, norm)
        return (values / size if 0 < size < np.inf else values * 0).astype(np.float32)


def _norm(values: npt.NDArray[np.float64], norm: int) -> float:
    if norm == -1:
        return 1.0
    if norm == 0:
        return float(np.abs(values).max(initial=0.0)) / MAX_INT16
    return float((np.abs(values) ** norm).sum() ** (1 / norm))
