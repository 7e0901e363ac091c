"""SamplingParams as the C boundary takes them."""

from __future__ import annotations

from typing import Any

from . import _ffi
from .sampling import DEFAULT_SEED, SamplingParams

_NUMBERS = tuple(
    name
    for name in SamplingParams.__dataclass_fields__
    if name not in ("dry_sequence_breakers", "samplers", "logit_bias", "grammar")
)
"""Fields that have the same name in C."""


def native_sampler(params: SamplingParams, n_probs: int) -> tuple[_ffi.sampler_params, list[Any]]:
    """SamplingParams in C, with the arrays that must outlive the call."""
    breakers = _ffi.texts(params.dry_sequence_breakers)
    samplers = _ffi.texts(params.samplers)
    bias_tokens = _ffi.int32s(list(params.logit_bias))
    bias_values = _ffi.float32s(list(params.logit_bias.values()))
    plain = {name: getattr(params, name) for name in _NUMBERS}
    plain["seed"] &= DEFAULT_SEED
    raw = _ffi.sampler_params(
        **plain,
        n_probs=n_probs,
        n_dry_sequence_breakers=len(params.dry_sequence_breakers),
        dry_sequence_breakers=breakers,
        n_samplers=len(params.samplers),
        samplers=samplers,
        n_logit_bias=len(params.logit_bias),
        logit_bias_tokens=bias_tokens,
        logit_bias_values=bias_values,
        grammar=params.grammar.encode(),
    )
    return raw, [breakers, samplers, bias_tokens, bias_values]
