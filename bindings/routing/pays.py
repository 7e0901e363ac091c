"""Whether a cache of experts pays here: tokens per second by where the experts are.

All ways have the same device memory beside the layers, by the bytes that a token reads and the
rates of this machine; `planner/roofline.py` has the formulas, hits are those of the trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..planner.roofline import (
    TokenExperts,
    hits_needed,
    seconds_cached,
    seconds_on_cpu,
    seconds_static,
)
from ..planner.speed import Bandwidths
from .replay import POLICIES, PolicyName, Replayer


@dataclass(frozen=True)
class SharePays:
    """What a share of the experts on the device is good for."""

    share: float
    n_bytes: int
    """Of these experts."""
    hit_rates: dict[PolicyName, float | None]
    """By policy; None: the cache takes no token's experts."""
    needed: float
    """Hit rate from which a cache is faster than the same memory for whole layers, if experts are
    uploaded from pinned memory; above 1 none is."""
    static: float
    """Tokens per second with whole layers' experts on the device."""
    cached: float
    """With llama.cpp's cache, experts in pinned memory."""
    cached_mapped: float
    """With llama.cpp's cache, experts in pages of the file."""

    @property
    def pays(self) -> bool:
        """Whether a cache is the fastest."""
        return max(self.cached, self.cached_mapped) > self.static


@dataclass(frozen=True)
class Pays:
    """All shares, and what there is without device memory for experts."""

    rates: Bandwidths
    all_on_cpu: float
    """Tokens per second with all experts in system memory and no cache."""
    all_on_gpu: float
    shares: tuple[SharePays, ...]


def pays(replayer: Replayer, shares: Sequence[float], rates: Bandwidths) -> Pays:
    """Reckon with a trace, for one client."""
    trace = replayer.trace
    experts = TokenExperts(trace.token_bytes, len(trace.layers))
    rest_s = trace.model.rest_bytes / rates.gpu

    def of(share: float) -> SharePays:
        found = {policy: replayer.of_share(policy, share).hit_rate for policy in POLICIES}

        def cached(link: float) -> float:
            hits = found["lru"]
            if hits is None:  # it is never asked, and all is computed on the CPU
                return seconds_on_cpu(experts, rates)
            return seconds_cached(experts, hits, rates, link)

        return SharePays(
            share=share,
            n_bytes=int(share * trace.all_bytes),
            hit_rates=found,
            needed=hits_needed(experts, share, rates),
            static=1 / (rest_s + seconds_static(experts, share, rates)),
            cached=1 / (rest_s + cached(rates.link)),
            cached_mapped=1 / (rest_s + cached(rates.link_mapped)),
        )

    return Pays(
        rates=rates,
        all_on_cpu=1 / (rest_s + seconds_on_cpu(experts, rates)),
        all_on_gpu=1 / (rest_s + seconds_static(experts, 1.0, rates)),
        shares=tuple(map(of, shares)),
    )
