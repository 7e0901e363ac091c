"""How the next token of one sequence is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

DEFAULT_SEED = 0xFFFFFFFF  # llama.cpp's LLAMA_DEFAULT_SEED: draw a random one

DEFAULT_SAMPLERS = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)

SAMPLERS = (*DEFAULT_SAMPLERS, "infill", "adaptive_p")
SAMPLER_CHARS = {  # common/sampling.cpp: common_sampler_type_to_chr
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "i": "infill",
    "a": "adaptive_p",
}


@dataclass(frozen=True)
class GrammarTrigger:
    """What has a lazy grammar begin. Source of the types: `common_grammar_trigger_type`."""

    type: int
    """0: a token, 1: a word, 2: a pattern, 3: a pattern for the whole output."""
    value: str
    token: int = -1


@dataclass(frozen=True)
class Reasoning:
    """Where a model reasons, and for how long it may."""

    start: str
    """Text that begins reasoning."""
    ends: tuple[str, ...]
    """Texts that end it; the first is written when the budget is spent."""
    budget: int = -1
    """Most tokens; -1: any number."""
    message: str = ""
    """Written before the end when the budget is spent."""


GRAMMAR_TYPES = {"user": 1, "output_format": 2, "tool_calls": 3}


@dataclass(frozen=True)
class SamplingParams:
    """Parameters of llama.cpp's sampler chain, with llama-server's names and defaults.

    Source: `common_params_sampling` in llama.cpp's `common/common.h`.
    """

    seed: int = DEFAULT_SEED
    temperature: float = 0.8
    """0 or less samples greedily."""
    top_k: int = 40
    """0 or less keeps the whole vocabulary."""
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    """Negative disables."""
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    repeat_last_n: int = 64
    """Tokens that the penalties look back on; 0 disables them."""
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0
    """Probability that chosen tokens should have on average, where "adaptive_p" is among the
    samplers; negative disables."""
    adaptive_decay: float = 0.9
    """Weight of the past in that average; 0 to 0.99."""
    min_keep: int = 0
    ignore_eos: bool = False
    samplers: tuple[str, ...] = DEFAULT_SAMPLERS
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Token id to the amount added to its logit; `-inf` forbids the token."""
    post_sampling_probs: bool = False
    """Report the probabilities of what the samplers left, instead of the model's own."""
    grammar: str = ""
    """A GBNF grammar that the whole output must follow; empty for none."""
    grammar_type: str = "user"
    """Whose it is: all but the user's know the generation prompt."""
    grammar_lazy: bool = False
    """The grammar holds from one of its triggers on."""
    grammar_triggers: tuple[GrammarTrigger, ...] = ()
    generation_prompt: str = ""
    """The end of the prompt that belongs to the output already."""
    reasoning: Reasoning | None = None

    @classmethod
    def greedy(cls) -> SamplingParams:
        """Always the most likely token."""
        return cls(temperature=0.0)

    def with_changes(self, **changes: object) -> SamplingParams:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]
