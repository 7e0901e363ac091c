"""Hit rates of llama.cpp's cache by its size."""

from __future__ import annotations

from .replay import Replayer
from .trace import Trace

SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)

Curve = tuple[tuple[float, float], ...]


def hit_curve(trace: Trace) -> Curve:
    """Share of the experts in the cache, and of what is needed that is found there; from nothing to
    all. A cache that is never asked, because a token's experts do not fit, finds nothing."""
    replayer = Replayer(trace)
    rates = ((share, replayer.of_share("lru", share).hit_rate or 0.0) for share in SHARES)
    return ((0.0, 0.0), *rates, (1.0, 1.0))
