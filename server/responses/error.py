"""The answer to what went wrong."""

from __future__ import annotations

from .base import Answer, sometimes


class Error(Answer):
    """What went wrong."""

    code: int
    """The HTTP status."""
    message: str
    """Names the field and the value where one is at fault."""
    type: str
    """OpenAI's word for the kind: see Errors."""
    n_prompt_tokens: int = sometimes()
    """Of a prompt that is too long."""
    n_ctx: int = sometimes()
    """The context that it does not fit into."""


class ErrorAnswer(Answer):
    """OpenAI's shape of an error."""

    error: Error
