"""The `prompt` field: every form that llama-server takes, as lists of tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from .errors import ApiError, exceeds_context, not_supported, wrong
from .state import Serving, Vocabulary

LONG_TEXT = 8192  # characters from which tokenising leaves the event loop
FORMS = "a string, a list of tokens, or a list that mixes strings and tokens"


async def read_prompts(value: Any, server: Serving) -> list[list[int]]:
    """Token lists of one prompt or several, each checked. Raises `ApiError`."""
    prompts = [await tokenize(item, server.vocabulary) for item in split_prompts(value)]
    if not prompts:
        raise ApiError('"prompt" must not be empty')
    for tokens in prompts:
        check_length(tokens, server.info.n_ctx_slot)
    return prompts


def check_length(tokens: list[int], n_ctx: int) -> None:
    """Raises `ApiError` for a prompt without tokens or without room for an answer."""
    if not tokens:
        raise ApiError('"prompt" must not be empty')
    if len(tokens) >= n_ctx:
        raise exceeds_context(len(tokens), n_ctx)


def split_prompts(value: Any) -> list[Any]:
    """Several prompts, unless the list holds tokens and so is one prompt."""
    if isinstance(value, list) and not any(_is_token(item) for item in value):
        return value
    return [value]


def _is_token(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


async def tokenize(
    value: Any,
    vocabulary: Vocabulary,
    *,
    add_special: bool = True,
    parse_special: bool = True,
    field: str = "prompt",
) -> list[int]:
    """One prompt's tokens. A beginning-of-text token comes only before a leading string."""
    if isinstance(value, dict) and isinstance(value.get("prompt_string"), str):
        if value.get("multimodal_data"):
            raise not_supported("multimodal_data", value["multimodal_data"])
        value = value["prompt_string"]
    parts = value if isinstance(value, list) else [value]
    tokens: list[int] = []
    for i, part in enumerate(parts):
        if isinstance(part, str):
            tokens += await _of_text(part, vocabulary, add_special and i == 0, parse_special)
        elif _is_token(part) and isinstance(value, list):
            tokens.append(checked_token(part, vocabulary, field))
        else:
            raise wrong(field, FORMS, part)
    return tokens


def checked_token(token: Any, vocabulary: Vocabulary, field: str) -> int:
    """A token id of this vocabulary. Raises `ApiError`."""
    if not _is_token(token):
        raise wrong(field, "token ids", token)
    if not 0 <= token < vocabulary.n_vocab:
        raise ApiError(
            f"Field '{field}': token {token} is not in the vocabulary "
            f"(0 to {vocabulary.n_vocab - 1})"
        )
    return int(token)


async def _of_text(
    text: str, vocabulary: Vocabulary, add_special: bool, parse_special: bool
) -> list[int]:
    if len(text) < LONG_TEXT:
        return vocabulary.tokenize(text, add_special=add_special, parse_special=parse_special)
    return await asyncio.to_thread(
        vocabulary.tokenize, text, add_special=add_special, parse_special=parse_special
    )
