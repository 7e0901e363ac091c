"""Lengths of prompts."""

from __future__ import annotations

from typing import Literal

from .base import Answer


class MessageTokens(Answer):
    """The length of a prompt."""

    input_tokens: int
    """Tokens of the prompt that the conversation becomes."""


class InputTokens(MessageTokens):
    """The length of a prompt, in OpenAI's shape."""

    object: Literal["response.input_tokens"]
