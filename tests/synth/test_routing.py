"""Biases and correlations do what `Routing` says, simulated apart from their derivation."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import numpy as np
import pytest

from pannier.errors import ArgumentError
from pannier.synth.routing import STAY, Routing, biases, topic_share, use_shares

SIZES = [(512, 10), (256, 8), (128, 6), (128, 4)]


def picks_of(n_expert: int, n_used: int, routing: Routing, n_tokens: int = 4000) -> np.ndarray:
    """Experts of each token of a text whose topic changes now and then, [n_tokens, n_used]."""
    random = np.random.default_rng(7)
    bias = biases(n_expert, n_used, routing.skew)
    share = topic_share(n_expert, n_used, routing)
    topics = random.standard_normal((1024, n_expert))
    changes = random.random(n_tokens) > STAY
    topic = np.maximum.accumulate(np.where(changes, np.arange(n_tokens), 0))
    topic = random.integers(0, len(topics), n_tokens)[topic]
    own = random.standard_normal((n_tokens, n_expert))
    logits = bias + share**0.5 * topics[topic] + (1 - share) ** 0.5 * own
    return np.argpartition(-logits, n_used)[:, :n_used]


def repeated(picks: np.ndarray) -> float:
    pairs = itertools.pairwise(picks)
    return float(np.mean([np.isin(after, before).mean() for before, after in pairs]))


@pytest.mark.parametrize(("n_expert", "n_used"), SIZES)
@pytest.mark.parametrize("skew", [0.0, 0.2, 0.6, 1.0])
def test_use_falls_as_the_power_of_the_rank(n_expert: int, n_used: int, skew: float) -> None:
    """Without locality, so that a few thousand tokens are enough to count."""
    picks = picks_of(n_expert, n_used, Routing(skew, 0.0), 20000)
    found = np.bincount(picks.ravel(), minlength=n_expert) / len(picks)
    wanted = use_shares(n_expert, n_used, skew)
    assert wanted.sum() == pytest.approx(n_used)
    assert wanted[1] / wanted[3] == pytest.approx(2**skew, rel=0.001) or skew == 1.0
    for part in (8, 4, 2):
        top = n_expert // part
        assert found[:top].sum() == pytest.approx(wanted[:top].sum(), rel=0.05)


def test_no_expert_is_meant_for_all_tokens() -> None:
    shares = use_shares(512, 10, 3.0)
    assert shares.max() == 0.9
    assert shares.sum() == pytest.approx(10)
    assert (np.diff(shares) <= 0).all()
    assert use_shares(4, 4, 1.0).tolist() == pytest.approx([1, 1, 1, 1])


@pytest.mark.parametrize(("n_expert", "n_used"), SIZES)
@pytest.mark.parametrize("locality", [0.25, 0.5, 0.8])
def test_locality_is_the_share_that_repeats(n_expert: int, n_used: int, locality: float) -> None:
    picks = picks_of(n_expert, n_used, Routing(0.2, locality))
    assert repeated(picks) == pytest.approx(locality, abs=0.04)


def test_no_locality_is_chance() -> None:
    assert repeated(picks_of(512, 10, Routing(0.0, 0.0))) == pytest.approx(10 / 512, abs=0.005)


def test_the_defaults_are_like_what_others_measured() -> None:
    """Models of 512 experts: the 32 most used have a tenth of the uses, and a cache of the least
    recently used ones hits 67 % with room for an eighth of them, 81 % with a quarter."""
    picks = picks_of(512, 10, Routing(), 8000)
    uses = np.sort(np.bincount(picks.ravel(), minlength=512))[::-1]
    assert uses[:32].sum() / uses.sum() == pytest.approx(0.1, abs=0.04)
    assert hit_rate(picks, 64) == pytest.approx(0.67, abs=0.06)
    assert hit_rate(picks, 128) == pytest.approx(0.81, abs=0.06)


def hit_rate(picks: np.ndarray, n_slots: int) -> float:
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for expert in picks.ravel().tolist():
        hits += expert in cache
        cache[expert] = None
        cache.move_to_end(expert)
        if len(cache) > n_slots:
            cache.popitem(last=False)
    return hits / picks.size


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-1, 0.2), "a skew of -1; it can be 0"),
        ((9, 0.2), "a skew of 9"),
        ((float("nan"), 0.2), "a skew of nan"),
        ((0.2, 0.95), "a locality of 0.95; it can be 0 .chance. to 0.9"),
    ],
)
def test_refusals(values: tuple[float, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Routing(*values)
