"""`logit_bias`: llama-server's two forms, and what the engine wants.

    [[15043, 1.0], [" Hello", -0.5], [2, false]]
    {"15043": 1.0, " Hello": -0.5, "2": false}

A number names a token, any other text stands for each of its tokens, and
`false` forbids the token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .errors import ApiError
from .fields import wrong
from .state import Vocabulary


def read_logit_bias(value: Any, vocabulary: Vocabulary) -> dict[int, float]:
    """Token to bias; biases of a token that is named twice add up. Raises `ApiError`."""
    found: dict[int, float] = {}
    for key, bias in _pairs(value):
        amount = _amount(bias)
        for token in _tokens(key, vocabulary):
            found[token] = found.get(token, 0.0) + amount
    return found


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key, bias in value.items():
            yield (int(key) if _is_number(key) else key), bias
    elif isinstance(value, list):
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise wrong("logit_bias", "pairs of [token, bias]", pair)
            yield pair[0], pair[1]
    else:
        raise wrong("logit_bias", "a list of [token, bias] or an object of token: bias", value)


def _is_number(key: str) -> bool:
    return key.isascii() and key.removeprefix("-").isdigit()


def _amount(bias: Any) -> float:
    if bias is False:
        return -math.inf
    if isinstance(bias, bool) or not isinstance(bias, (int, float)) or not math.isfinite(bias):
        raise wrong("logit_bias", "a number or false as bias", bias)
    return float(bias)


def _tokens(key: Any, vocabulary: Vocabulary) -> list[int]:
    if isinstance(key, str):
        return vocabulary.tokenize(key, add_special=False, parse_special=False)
    if isinstance(key, bool) or not isinstance(key, int):
        raise wrong("logit_bias", "a token id or a text", key)
    if not 0 <= key < vocabulary.n_vocab:
        raise ApiError(
            f"Field 'logit_bias': token {key} is not in the vocabulary "
            f"(0 to {vocabulary.n_vocab - 1})"
        )
    return [key]
