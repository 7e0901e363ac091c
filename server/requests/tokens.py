"""Bodies of `/tokenize` and `/detokenize`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from .base import RequestBody
from .prompt import TOKEN, Content

TokenIds = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "type": "array",
            "items": TOKEN,
            "x-type": "list of whole numbers",
        }
    ),
]


class TokenizeBody(RequestBody):
    """A text to tokenise."""

    content: Content = None
    """A string, a list of tokens, or a list that mixes both; without it the answer is empty."""
    add_special: bool = False
    """With the token of the beginning, where the model has one."""
    parse_special: bool = True
    """Text that spells a control token becomes it."""
    with_pieces: bool = False
    """Objects of `id` and `piece`: a string, or a list of bytes where it is not UTF-8."""


class DetokenizeBody(RequestBody):
    """Tokens to write as text."""

    tokens: TokenIds = Field(default_factory=list)
    """Token ids."""
