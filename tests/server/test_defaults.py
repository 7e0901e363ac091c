"""Sampling defaults out of a model's metadata."""

from __future__ import annotations

from pannier.sampling import SamplingParams
from pannier.server.defaults import sampling_of


def test_nothing_said() -> None:
    assert sampling_of({"general.architecture": "llama"}) == SamplingParams()


def test_the_models_own() -> None:
    metadata = {
        "general.sampling.temp": "0.6",
        "general.sampling.top_k": "20",
        "general.sampling.penalty_last_n": "128",
        "general.sampling.sequence": "top_k;top_p;magic;temperature",
    }
    assert sampling_of(metadata) == SamplingParams(
        temperature=0.6,
        top_k=20,
        repeat_last_n=128,
        samplers=("top_k", "top_p", "temperature"),
    )


def test_what_cannot_be_read_is_ignored() -> None:
    metadata = {
        "general.sampling.temp": "warm",
        "general.sampling.top_p": "nan",
        "general.sampling.top_k": "",
        "general.sampling.sequence": "magic",
    }
    assert sampling_of(metadata) == SamplingParams()
