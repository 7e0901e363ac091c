"""Parts that several answers share."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .base import Answer, sometimes


class Timings(Answer):
    """Counts, milliseconds and rates."""

    cache_n: int
    """Tokens of the prompt that the cache had."""
    cache_reason: str
    """Why the others had to be computed: empty where they are new; `nothing shared`; `drift at
    token n ("...")`; `evicted at token n`; `refused by the model's memory at token n`: its state
    cannot go back to there."""
    prompt_n: int
    """Tokens of the prompt that were computed."""
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    """Tokens of the answer."""
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
    draft_n: int = sometimes()
    """Tokens that were guessed, with `--spec-type`."""
    draft_n_accepted: int = sometimes()
    """Guesses that came true."""


class Alternative(Answer):
    """A token with its probability."""

    id: int
    token: str
    """Its text, as far as it is text by itself."""
    bytes: list[int]
    logprob: float = sometimes()
    """Natural logarithm of the probability, before the samplers."""
    prob: float = sometimes()
    """In its place with `post_sampling_probs`: the probability after the samplers."""


class TokenProb(Alternative):
    """A token of the answer, and what else was likely there."""

    top_logprobs: list[Alternative] = sometimes()
    """The most likely ones, as many as were asked for."""
    top_probs: list[Alternative] = sometimes()
    """In its place with `post_sampling_probs`."""


class Progress(Answer):
    """How far a prompt is."""

    total: int
    """Tokens of the prompt."""
    cache: int
    """Those that the cache had."""
    processed: int
    """Those that are there now."""
    time_ms: int
    """Since it started."""


class RequestMemory(Answer):
    """What a request held at its end."""

    n_cells: int
    n_cells_shared: int
    """With other sequences."""
    n_cells_reserved: int
    """For its whole length."""
    kv_bytes: int
    """Of its cells, shared ones in full."""
    kv_private_bytes: int
    """Of the cells that it has alone."""
    kv_shared_bytes: int
    """Its share of the others: the bytes of each by the number of its sharers."""
    recurrent_bytes: int
    """Of its recurrent state, or its share of it."""
    rollback_bytes: int
    """Of what the state can be rolled back to, likewise."""
    now_bytes: int
    """The sum: cells that it has alone, shares of the others, state."""
    peak_bytes: int
    """The most that it was."""
    reserved_bytes: int
    """What it would be at its whole length if nobody shared anything with it."""


class CacheReport(Answer):
    """What of a prompt was there."""

    n_reused: int
    """Tokens that the cache had."""
    n_computed: int
    """Tokens that were computed."""
    reason: str
    """Why, as `cache_reason`."""
    drift_at: int | None
    """Token at which the prompt leaves what the cache has; null: nowhere."""


class Reports(Answer):
    """What a request can ask for beside its answer (pannier's own)."""

    memory: RequestMemory = sometimes()
    """With `memory`."""
    cache: CacheReport = sometimes()
    """With `cache`."""


class PromptTokensDetails(Answer):
    cached_tokens: int
    """Tokens that the cache had."""


class Usage(Answer):
    """OpenAI's token counts."""

    completion_tokens: int
    prompt_tokens: int
    """A prompt that has several answers counts once."""
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Bias(Answer):
    bias: float | None
    """Null forbids the token."""
    token: int


class BriefSettings(Answer):
    """Every setting that held, by the names of the request's fields, but those that can be long."""

    seed: int
    temperature: float
    dynatemp_range: float
    dynatemp_exponent: float
    top_k: int
    top_p: float
    min_p: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    typical_p: float
    repeat_last_n: int
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    ignore_eos: bool
    min_keep: int
    samplers: list[str]
    max_tokens: int
    n_predict: int
    stream: bool
    n_probs: int
    timings_per_token: bool
    cache_prompt: bool
    context_overflow: str
    priority: int
    adaptive_target: float
    adaptive_decay: float
    n_keep: int
    n_discard: int
    chat_format: str
    reasoning_format: str
    reasoning_in_content: bool
    generation_prompt: str
    speculative_types: str = Field(alias="speculative.types")
    post_sampling_probs: bool
    backend_sampling: bool
    lora: list[Any]


class Settings(BriefSettings):
    """Every setting that held, by the names of the request's fields."""

    dry_sequence_breakers: list[str]
    stop: list[str]
    logit_bias: list[Bias]
    grammar: str
    grammar_lazy: bool
    grammar_triggers: list[Any]
    preserved_tokens: list[Any]
