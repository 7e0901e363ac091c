"""SamplingParams as the C boundary takes them."""

from __future__ import annotations

from typing import Any

from . import _ffi
from .sampling import DEFAULT_SEED, GRAMMAR_TYPES, Reasoning, SamplingParams

_OTHERS = (
    "dry_sequence_breakers",
    "samplers",
    "logit_bias",
    "grammar",
    "grammar_type",
    "grammar_triggers",
    "generation_prompt",
    "reasoning",
)
_NUMBERS = tuple(name for name in SamplingParams.__dataclass_fields__ if name not in _OTHERS)
"""Fields that have the same name in C."""


def native_sampler(params: SamplingParams, n_probs: int) -> tuple[_ffi.sampler_params, list[Any]]:
    """SamplingParams in C, with the arrays that must outlive the call."""
    breakers = _ffi.texts(params.dry_sequence_breakers)
    samplers = _ffi.texts(params.samplers)
    bias_tokens = _ffi.int32s(list(params.logit_bias))
    bias_values = _ffi.float32s(list(params.logit_bias.values()))
    reasoning = params.reasoning or Reasoning("", ())
    ends = _ffi.texts(reasoning.ends)
    types, values, tokens = _triggers(params)
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
        grammar_type=GRAMMAR_TYPES[params.grammar_type],
        n_triggers=len(params.grammar_triggers),
        trigger_types=types,
        trigger_values=values,
        trigger_tokens=tokens,
        generation_prompt=params.generation_prompt.encode(),
        reasoning_budget=reasoning.budget,
        reasoning_start=reasoning.start.encode(),
        n_reasoning_ends=len(reasoning.ends),
        reasoning_ends=ends,
        reasoning_message=reasoning.message.encode(),
    )
    return raw, [breakers, samplers, bias_tokens, bias_values, ends, types, values, tokens]


def _triggers(params: SamplingParams) -> tuple[Any, Any, Any]:
    triggers = params.grammar_triggers
    return (
        _ffi.int32s([trigger.type for trigger in triggers]),
        _ffi.texts([trigger.value for trigger in triggers]),
        _ffi.int32s([trigger.token for trigger in triggers]),
    )
