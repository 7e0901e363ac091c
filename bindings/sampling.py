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

    @classmethod
    def greedy(cls) -> SamplingParams:
        """Always the most likely token."""
        return cls(temperature=0.0)

    def with_changes(self, **changes: object) -> SamplingParams:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]
