"""llama-cpp-python's chain of samplers as SamplingParams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sampling import SamplingParams
from .grammar import LlamaGrammar

CHAIN = ("penalties", "top_k", "typ_p", "top_p", "min_p", "temperature")
GREEDY = ("penalties", "temperature")
NAMES = {
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}


def sampling_params(
    values: Mapping[str, Any],
    seed: int,
    last_n: int,
    grammar: LlamaGrammar | None,
    logit_bias: Mapping[Any, Any] | None = None,
) -> SamplingParams:
    """The chain for arguments named as those of `Llama.generate`.

    A temperature of 0 is greedy; below 0 tokens are drawn from what the penalties left, at
    temperature 1; so they are with mirostat, which has a truncation of its own.
    """
    temperature = float(values["temp"])
    mirostat = int(values["mirostat_mode"]) if temperature > 0 else 0
    chain = CHAIN if temperature > 0 else GREEDY if temperature == 0 else GREEDY[:1]
    return SamplingParams(
        **{name: values[key] for key, name in NAMES.items()},
        seed=seed & 0xFFFFFFFF,
        temperature=1.0 if temperature < 0 or mirostat else temperature,
        repeat_last_n=last_n,
        mirostat=mirostat,
        samplers=chain,
        grammar=grammar._grammar if grammar is not None else "",
        logit_bias={int(token): float(bias) for token, bias in (logit_bias or {}).items()},
    )
