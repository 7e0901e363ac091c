"""Why tokens of a prompt had to be computed although others like them were before.

A prompt that goes on exactly where a kept prefix ends has no reason: its tokens are new.
"""

from __future__ import annotations

NONE = ""
NOTHING_SHARED = "nothing shared"
DRIFT = "drift"
"""The prompt and what the cache holds differ from some token on."""
EVICTED = "evicted"
MEMORY = "refused by the model's memory"
"""The cache holds more of the prompt, but this model's state cannot go back to there."""

FEW = 16
"""Tokens that any two prompts may have in common: the start of a template."""


def explain(
    n_prompt: int, n_reused: int, n_held: int, n_gone: int, extends: bool
) -> tuple[str, int]:
    """The reason, and the token at which the prompt leaves what is held (-1: none).

    Args:
        n_prompt: tokens of the prompt.
        n_reused: tokens that it starts with.
        n_held: tokens that it has in common with any sequence.
        n_gone: tokens that it has in common with what was evicted.
        extends: it starts with the whole of a kept prefix.
    """
    if n_reused >= n_prompt - 1:
        return NONE, -1
    if n_gone >= max(n_held, n_reused) + FEW:
        return EVICTED, n_gone
    if n_held >= n_reused + FEW:
        return MEMORY, n_held
    if extends:
        return NONE, -1
    if n_reused < FEW:
        return NOTHING_SHARED, -1
    return DRIFT, n_reused
