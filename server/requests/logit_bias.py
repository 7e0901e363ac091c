"""`logit_bias`: llama-server's two forms, and what the engine wants.

    [[15043, 1.0], [" Hello", -0.5], [2, false]]
    {"15043": 1.0, " Hello": -0.5, "2": false}

A number names a token, any other text stands for each of its tokens, and
`false` forbids the token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, ValidationInfo

from ..state import Vocabulary
from .types import unexpected


def _read(value: Any, info: ValidationInfo) -> dict[int, float]:
    """Token to bias; biases of a token that is named twice add up."""
    vocabulary: Vocabulary = info.context.vocabulary  # type: ignore[union-attr]
    found: dict[int, float] = {}
    for key, bias in _pairs(value):
        amount = _amount(bias)
        for token in _tokens(key, vocabulary):
            found[token] = found.get(token, 0.0) + amount
    return found


Bias = float | Literal[False]
LogitBias = Annotated[
    dict[int, float],
    PlainValidator(_read, json_schema_input_type=list[tuple[int | str, Bias]] | dict[str, Bias]),
]


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key, bias in value.items():
            yield (int(key) if _is_number(key) else key), bias
    elif isinstance(value, list):
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise unexpected("pairs of [token, bias]", pair)
            yield pair[0], pair[1]
    else:
        raise unexpected("a list of [token, bias] or an object of token: bias", value)


def _is_number(key: str) -> bool:
    return key.isascii() and key.removeprefix("-").isdigit()


def _amount(bias: Any) -> float:
    if bias is False:
        return -math.inf
    if isinstance(bias, bool) or not isinstance(bias, (int, float)) or not math.isfinite(bias):
        raise unexpected("a number or false as bias", bias)
    return float(bias)


def _tokens(key: Any, vocabulary: Vocabulary) -> list[int]:
    if isinstance(key, str):
        return vocabulary.tokenize(key, add_special=False, parse_special=False)
    if isinstance(key, bool) or not isinstance(key, int):
        raise unexpected("a token id or a text", key)
    if not 0 <= key < vocabulary.n_vocab:
        raise unexpected(f"tokens of the vocabulary (0 to {vocabulary.n_vocab - 1})", key)
    return [key]
