"""llama-cpp-python's chain of samplers as SamplingParams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from ..sampling import SamplingParams
from .callables import Logits, LogitsProcessor, Tokens
from .grammar import LlamaGrammar

CHAIN = ("penalties", "top_k", "typ_p", "top_p", "min_p", "temperature")
GREEDY = ("penalties", "temperature")


@dataclass(frozen=True)
class Chain:
    """The arguments of `Llama.generate` that are about sampling.

    A temperature of 0 is greedy; below 0 tokens are drawn from what the penalties left, at
    temperature 1; so they are with mirostat, which has a truncation of its own.
    """

    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    temp: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    tfs_z: float
    mirostat_mode: int
    mirostat_tau: float
    mirostat_eta: float

    def __post_init__(self) -> None:
        if self.tfs_z != 1.0:
            raise ArgumentError(
                f"tfs_z is {self.tfs_z}: llama.cpp has no tail-free sampling any more; use min_p "
                "or typical_p"
            )
        if self.mirostat_mode not in (0, 1, 2):
            raise ArgumentError(f"mirostat_mode is {self.mirostat_mode}; it must be 0, 1 or 2")

    @property
    def _mirostat(self) -> int:
        return self.mirostat_mode if self.temp > 0 else 0

    def params(
        self,
        seed: int,
        last_n: int,
        grammar: LlamaGrammar | None,
        logit_bias: Mapping[Any, Any] | None = None,
    ) -> SamplingParams:
        """For the engine. `last_n`: tokens that the penalties look back on."""
        chain = CHAIN if self.temp > 0 else GREEDY if self.temp == 0 else GREEDY[:1]
        return SamplingParams(
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            typical_p=self.typical_p,
            repeat_penalty=self.repeat_penalty,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            mirostat_tau=self.mirostat_tau,
            mirostat_eta=self.mirostat_eta,
            seed=seed & 0xFFFFFFFF,
            temperature=1.0 if self.temp < 0 or self._mirostat else self.temp,
            repeat_last_n=max(last_n, 0),
            mirostat=self._mirostat,
            samplers=chain,
            grammar=grammar._grammar if grammar is not None else "",
            logit_bias={int(token): float(bias) for token, bias in (logit_bias or {}).items()},
        )

    def processor(
        self, given: LogitsProcessor | None, n_prompt: int, last_n: int
    ) -> LogitsProcessor | None:
        """What the engine's chain has no place for: it does not penalise before mirostat."""
        neutral = (self.repeat_penalty, self.frequency_penalty, self.presence_penalty) == (1, 0, 0)
        if not self._mirostat or neutral or last_n <= 0:
            return given

        def penalise(tokens: Tokens, logits: Logits) -> Logits:
            found = given(tokens, logits) if given is not None else logits
            return self._penalised(found, tokens[n_prompt:][-last_n:])

        return penalise

    def _penalised(self, logits: Logits, tokens: Tokens) -> Logits:
        """As llama.cpp's sampler "penalties" does, which looks back on sampled tokens only."""
        found = logits.copy()
        for token, n in Counter(tokens.tolist()).items():
            logit = found[token]
            logit = logit * self.repeat_penalty if logit <= 0 else logit / self.repeat_penalty
            found[token] = logit - n * self.frequency_penalty - self.presence_penalty
        return found
