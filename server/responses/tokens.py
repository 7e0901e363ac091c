"""Answers of the endpoints that ask the vocabulary only."""

from __future__ import annotations

from .base import Answer


class Piece(Answer):
    """A token and its text."""

    id: int
    piece: str | list[int]
    """Text, or the bytes of what is not UTF-8 by itself."""


class Tokens(Answer):
    """A text in tokens."""

    tokens: list[int] | list[Piece]
    """Objects with `with_pieces`."""


class Text(Answer):
    """Tokens as text."""

    content: str


class RenderedPrompt(Answer):
    """The prompt that a conversation becomes."""

    prompt: str
