"""Answers of `/completion`."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from .base import Answer, sometimes
from .generation import Progress, Reports, Settings, Timings, TokenProb


class Completion(Reports):
    """One answer, or the last event of its stream. Several prompts or answers come as a list of
    such objects."""

    index: int
    """Which answer: prompt by prompt, `n` for each."""
    content: str
    """The text; empty in a stream, which had it before."""
    tokens: list[int]
    """Its tokens, with `return_tokens`."""
    id_slot: int
    """The slot that ran it."""
    stop: Literal[True]
    model: str
    """Name of the model."""
    tokens_predicted: int
    """Tokens of the answer, the one that ended it included."""
    tokens_evaluated: int
    """Tokens of the prompt."""
    generation_settings: Settings
    """Every setting that held."""
    prompt: str
    """The prompt as text."""
    has_new_line: bool
    """The text has one."""
    truncated: bool
    """The context was full before the answer was as long as asked."""
    stop_type: Literal["eos", "limit", "word"]
    """`eos`: the model ended it; `limit`: its length did; `word`: a `stop` did."""
    stopping_word: str
    """Which one."""
    tokens_cached: int
    """Tokens in the cache at the end."""
    timings: Timings
    completion_probabilities: list[TokenProb] = sometimes()
    """With `n_probs`: each token's log-probability and the best alternatives."""


class Selected(Answer):
    """With `response_fields`: these of the answer's fields and no others, under their paths."""

    model_config = ConfigDict(extra="allow")


class CompletionChunk(Answer):
    """New text of an answer."""

    index: int
    content: str
    tokens: list[int]
    stop: Literal[False]
    id_slot: int
    tokens_predicted: int
    """So far."""
    tokens_evaluated: int
    prompt_progress: Progress = sometimes()
    """With `return_progress`, before the first token."""
    timings: Timings = sometimes()
    """With `timings_per_token`."""
    completion_probabilities: list[TokenProb] = sometimes()
    """With `n_probs`, of these tokens."""
