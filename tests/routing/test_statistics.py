"""What routers were made to do is found again; chance is not taken for skew."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pannier.routing.statistics import (
    entropy_of,
    layer_statistics,
    repetition,
    skew_of,
    square_of_shares,
    top_share,
)
from pannier.synth.routing import Routing, use_shares

from .traces import drawn_trace, trace_of


@pytest.mark.parametrize("skew", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("locality", [0.0, 0.4])
def test_skew_and_locality_are_recovered(skew: float, locality: float) -> None:
    trace = drawn_trace(Routing(skew, locality), 12000)  # of some 360 topics
    for layer in layer_statistics(trace):
        assert layer.skew == pytest.approx(skew, abs=0.12)
        assert layer.repeated is not None
        if locality > layer.chance:
            assert layer.repeated == pytest.approx(locality, abs=0.05)
        else:
            assert layer.repeated == pytest.approx(layer.chance, abs=0.01)


def test_chance_is_not_skew() -> None:
    """Of even experts, a short trace uses some twice as often as others."""
    trace = drawn_trace(Routing(0.0, 0.0), 400)
    for layer, counts in zip(layer_statistics(trace), trace.counts, strict=True):
        assert counts.max() >= 2 * counts[counts > 0].min()
        assert layer.skew < 0.15
        assert layer.chance == pytest.approx(6 / 128, rel=0.02)
        assert layer.entropy == pytest.approx(7.0, abs=0.02)


@pytest.mark.parametrize("skew", [0.0, 0.3, 1.2])
def test_the_exponent_of_a_sum_of_squares(skew: float) -> None:
    shares = use_shares(512, 10, skew) / 10
    assert skew_of(float((shares**2).sum()), 512, 10) == pytest.approx(skew, abs=1e-3)


def test_few_counts() -> None:
    counts = np.zeros((8, 4), dtype=np.int64)
    assert square_of_shares(counts) == 1 / 4
    counts[0, 2] = 3
    assert square_of_shares(counts) == 1 / 4, "one part has nothing to be compared with"
    assert top_share(counts[0], 0.25) == 1.0
    assert (top_share(counts[1], 0.5), entropy_of(counts[1])) == (0.0, 0.0)
    assert entropy_of(np.array([50, 50])) == 1.0


def test_repetition_follows_each_text() -> None:
    """Two texts that take turns in ubatches: each repeats its own experts, not the other's."""
    a, b = np.array([[0, 1]]), np.array([[2, 3]])
    both = [[np.concatenate([a, b])], [np.concatenate([b, a])]] * 4
    texts = [(7, 8), (8, 7)] * 4
    assert repetition(trace_of(both, 8, sequences=texts), 0) == 1.0
    assert repetition(trace_of(both, 8), 0) == 7 / 15, "as one text: within no, between yes"


def test_repetition_by_the_definition() -> None:
    random = np.random.default_rng(3)
    rows = random.random((50, 12)).argsort(axis=1)[:, :3]
    at_once = [[part] for part in np.split(rows, [1, 2, 10, 11, 40])]
    pairs = itertools.pairwise(rows)
    wanted = np.mean([np.isin(after, before).mean() for before, after in pairs])
    assert repetition(trace_of(at_once, 12), 0) == pytest.approx(wanted)


def test_a_layer_that_skipped_tokens_has_a_gap() -> None:
    a, b = np.array([[0, 1]]), np.array([[2, 3]])
    whole = np.concatenate([a, a])
    trace = trace_of([[whole, whole], [whole, b], [a, b], [a, b]], 8)
    assert repetition(trace, 0) == 1.0
    assert repetition(trace, 1) == 1.0, "the pair at the beginning, and the one at the end"
    assert repetition(trace_of([[a]], 8), 0) is None
