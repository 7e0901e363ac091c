"""Sampling that a model file asks for: what a request that says nothing gets.

Source of the keys: `common_init_sampler_from_model` in llama.cpp's
`common/common.cpp`; values that cannot be read are ignored, as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..sampling import DEFAULT_SAMPLERS, SamplingParams

PREFIX = "general.sampling."


def _whole(text: str) -> int:
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _samplers(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(";") if name in DEFAULT_SAMPLERS)
    if not names:
        raise ValueError(text)
    return names


KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "sequence": ("samplers", _samplers),
    "top_k": ("top_k", _whole),
    "top_p": ("top_p", _finite),
    "min_p": ("min_p", _finite),
    "xtc_probability": ("xtc_probability", _finite),
    "xtc_threshold": ("xtc_threshold", _finite),
    "temp": ("temperature", _finite),
    "penalty_last_n": ("repeat_last_n", _whole),
    "penalty_repeat": ("repeat_penalty", _finite),
    "mirostat": ("mirostat", _whole),
    "mirostat_tau": ("mirostat_tau", _finite),
    "mirostat_eta": ("mirostat_eta", _finite),
}


def sampling_of(metadata: Mapping[str, str]) -> SamplingParams:
    """llama-server's defaults with the model's own in their place."""
    found: dict[str, Any] = {}
    for key, (field, read) in KEYS.items():
        try:
            found[field] = read(metadata[PREFIX + key])
        except (KeyError, ValueError):
            continue
    return SamplingParams(**found)
