"""Drafts from the prompt itself, under llama-cpp-python's name."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ArgumentError


@dataclass(frozen=True)
class LlamaPromptLookupDecoding:
    """Guess what followed the last tokens before, and check it in one step.

    Args:
        max_ngram_size: tokens that are compared.
        num_pred_tokens: most tokens that are guessed at once.
    """

    max_ngram_size: int = 2
    num_pred_tokens: int = 10

    def __post_init__(self) -> None:
        if self.max_ngram_size < 1 or self.num_pred_tokens < 1:
            raise ArgumentError(f"{self}: both must be at least 1")
