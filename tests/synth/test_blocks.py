"""Random blocks decode, by gguf's own decoder, to weights of the deviation asked for."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from pannier.synth.blocks import FLOATS, KNOWN, random_rows


def decoded(type: str, deviation: float, seed: int = 0) -> np.ndarray:
    rows = random_rows(type, 256, 2048, deviation, np.random.default_rng(seed))
    assert rows.dtype == np.uint8
    if type == "F32":
        return rows.view(np.float32)
    return gguf.dequantize(rows, gguf.GGMLQuantizationType[type])


@pytest.mark.parametrize("type", KNOWN)
@pytest.mark.parametrize("deviation", [1.0, 0.002])
def test_deviation(type: str, deviation: float) -> None:
    values = decoded(type, deviation)
    assert values.shape == (256, 2048)
    assert values.std() == pytest.approx(deviation, rel=0.03)
    assert abs(values.mean(axis=0)).max() < 0.4 * deviation, "a column leans to one side"
    assert abs(values.mean()) < 0.01 * deviation
    assert len(np.unique(rows_of(values))) == 256


def rows_of(values: np.ndarray) -> np.ndarray:
    return values @ np.random.default_rng(5).standard_normal(values.shape[1])


@pytest.mark.parametrize("type", KNOWN)
def test_groups_do_not_lean(type: str) -> None:
    """The sum of 32 neighbours varies as that of independent numbers: a group with a mean of its
    own would add up with activations."""
    sums = decoded(type, 1.0).reshape(-1, 32).sum(axis=1)
    assert 0.9 < sums.var() / 32 < 2


@pytest.mark.parametrize("type", KNOWN)
def test_the_seed_decides(type: str) -> None:
    assert np.array_equal(decoded(type, 0.1), decoded(type, 0.1))
    assert not np.array_equal(decoded(type, 0.1), decoded(type, 0.1, seed=1))


@pytest.mark.parametrize("type", [type for type in KNOWN if type not in FLOATS])
def test_bytes_of_zeros_are_zeros(type: str) -> None:
    """What `weights.py` writes where layers must not write."""
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]][1]
    values = gguf.dequantize(np.zeros((3, size), np.uint8), gguf.GGMLQuantizationType[type])
    assert not values.any()
