"""Which experts random routers choose: how unevenly, and how much alike from token to token.

A router's logits are b(e) + c(topic, e) + d(token, e). The biases b make some experts likelier,
whatever the token; c and d are normally distributed and together have the deviation 1. Words have
topics (`topics.py`), and a text stays with one for a while: so c is what tokens that follow each
other have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError

Floats = NDArray[np.float64]

STAY = 0.97
"""How often a word is followed by one of its own topic, at temperature 1."""
_AT_MOST = 0.9
"""No expert is meant to be used by more of the tokens: rank 1 of a steep skew would be by all."""
_PAIRS = 1000
"""Simulated pairs of tokens, to find the correlation that a locality takes."""
MAX_LOCALITY = 0.9
MAX_SKEW = 3.0


@dataclass(frozen=True)
class Routing:
    """What routers are made to do. The defaults give a model of 512 experts what others measured
    with such models: the 32 most used experts have about a tenth of the uses, and a cache of the
    least recently used ones that holds an eighth of them hits two times of three."""

    skew: float = 0.2
    """The expert of rank r in its layer is used in proportion to r^-skew; 0 is evenly."""
    locality: float = 0.25
    """Share of a token's experts that the token before used too; chance alone has n_used / n_expert
    or, with a skew, more."""

    def __post_init__(self) -> None:
        if not 0 <= self.skew <= MAX_SKEW:
            raise ArgumentError(f"a skew of {self.skew}; it can be 0 (even) to {MAX_SKEW:g}")
        if not 0 <= self.locality <= MAX_LOCALITY:
            raise ArgumentError(
                f"a locality of {self.locality}; it can be 0 (chance) to {MAX_LOCALITY}"
            )


def use_shares(n_expert: int, n_used: int, skew: float) -> Floats:
    """Share of the tokens that use the expert of each rank, [n_expert], sum n_used."""
    weights = np.arange(1, n_expert + 1, dtype=np.float64) ** -skew
    at_most = max(_AT_MOST, n_used / n_expert)
    shares: Floats = n_used * weights / weights.sum()
    for n_full in range(1, n_used + 1):
        if shares[n_full - 1] <= at_most:
            break
        shares[:n_full] = at_most
        shares[n_full:] = (n_used - n_full * at_most) * weights[n_full:] / weights[n_full:].sum()
    return shares


def biases(n_expert: int, n_used: int, skew: float) -> Floats:
    """Bias of the expert of each rank, against noise of deviation 1.

    With many experts the least logit that is chosen hardly varies. An expert is then used when its
    noise exceeds that less its bias, which for normal noise gives the bias of a share.
    """
    normal = NormalDist()
    shares = use_shares(n_expert, n_used, skew)
    return np.array([normal.inv_cdf(min(share, 1 - 1e-9)) for share in shares])


@cache
def topic_share(n_expert: int, n_used: int, routing: Routing) -> float:
    """Share of the noise's variance that is the topic's, for the routing's locality."""
    if repeated(n_expert, n_used, routing.skew, 0.0) >= routing.locality:
        return 0.0
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        if repeated(n_expert, n_used, routing.skew, middle) < routing.locality:
            low = middle
        else:
            high = middle
    return low


def repeated(n_expert: int, n_used: int, skew: float, share: float) -> float:
    """Share of a token's experts that the next token uses too, simulated."""
    random = np.random.default_rng(1)
    bias = biases(n_expert, n_used, skew)
    topic, other, first, second = random.standard_normal((4, _PAIRS, n_expert))
    stays = np.arange(_PAIRS)[:, None] < STAY * _PAIRS
    before = bias + share**0.5 * topic + (1 - share) ** 0.5 * first
    after = bias + share**0.5 * np.where(stays, topic, other) + (1 - share) ** 0.5 * second
    return float(np.mean(chosen(before, n_used)[chosen(after, n_used)]))


def chosen(logits: Floats, n_used: int) -> NDArray[np.bool_]:
    """Whether each expert is among the `n_used` with the largest logits, [n_tokens, n_expert]."""
    least = np.partition(logits, -n_used, axis=1)[:, -n_used, None]
    result: NDArray[np.bool_] = logits >= least
    return result
