"""The arithmetic of caches, by hand and by the figures of others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pannier.planner.roofline import (
    TokenExperts,
    hits_needed,
    seconds_cached,
    seconds_on_cpu,
    seconds_on_gpu,
    seconds_static,
)
from pannier.planner.speed import GB, Bandwidths
from pannier.routing.hit_curve import hit_curve
from pannier.routing.pays import pays
from pannier.routing.replay import Replayer
from pannier.synth.routing import Routing

from .traces import drawn_trace, model

RATES = Bandwidths(gpu=400 * GB, cpu=50 * GB, link=20 * GB, link_mapped=10 * GB, sync_s=10e-6)
QWEN = TokenExperts(n_bytes=48 * 10 * 1.887e6, n_layers=48)
"""Qwen3-Coder-Next at 4.8 bits."""


def test_seconds_by_hand() -> None:
    experts = TokenExperts(n_bytes=1e9, n_layers=40)
    assert seconds_on_gpu(experts, RATES) == 0.0025
    assert seconds_on_cpu(experts, RATES) == pytest.approx(0.020 + 0.0004)
    assert seconds_static(experts, 0.25, RATES) == pytest.approx(0.000625 + 0.015 + 0.0003)
    assert seconds_cached(experts, 0.8, RATES) == pytest.approx(0.0025 + 0.010 + 0.0004)
    assert seconds_cached(experts, 0.8, RATES, 10 * GB) == pytest.approx(0.0025 + 0.020 + 0.0004)


def test_the_rate_of_a_model_on_a_card_of_8_gb() -> None:
    """Experts on the CPU at 50 GB/s: at most the 45 tokens/s that the roofline gives."""
    rest_s = 1.47e9 / RATES.gpu
    assert 1 / (rest_s + seconds_on_cpu(QWEN, RATES)) == pytest.approx(45, abs=1)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_hits_that_are_needed_make_both_alike(share: float) -> None:
    needed = hits_needed(QWEN, share, RATES)
    cached = seconds_cached(QWEN, needed, RATES)
    assert cached == pytest.approx(seconds_static(QWEN, share, RATES))
    assert seconds_cached(QWEN, needed + 0.01, RATES) < cached


def test_all_ways_for_a_trace() -> None:
    trace = drawn_trace(Routing(0.3, 0.5), 300)
    trace = replace(trace, expert_bytes=(2_000_000,) * 2, model=model(2, 128, 6, 10**8))
    found = pays(Replayer(trace), (0.01, 0.25), RATES)
    experts, rest_s = TokenExperts(24e6, 2), 1e8 / RATES.gpu
    assert found.all_on_cpu == pytest.approx(1 / (rest_s + seconds_on_cpu(experts, RATES)))
    assert found.all_on_gpu == pytest.approx(1 / (rest_s + 24e6 / RATES.gpu))
    small, quarter = found.shares
    assert small.hit_rates["lru"] is None
    assert small.cached == found.all_on_cpu, "it has no room for a token: the CPU computes"
    hits = quarter.hit_rates["lru"]
    assert hits is not None
    assert quarter.n_bytes == 2 * 128 * 2_000_000 // 4
    assert quarter.cached == pytest.approx(1 / (rest_s + seconds_cached(experts, hits, RATES)))
    mapped = seconds_cached(experts, hits, RATES, RATES.link_mapped)
    assert quarter.cached_mapped == pytest.approx(1 / (rest_s + mapped))
    assert quarter.static == pytest.approx(1 / (rest_s + seconds_static(experts, 0.25, RATES)))


@pytest.mark.parametrize(("cpu", "pinned", "expected"), [(10, 50, True), (200, 10, False)])
def test_it_depends_on_the_machine(cpu: int, pinned: int, expected: bool) -> None:
    replayer = Replayer(drawn_trace(Routing(0.3, 0.5), 300))
    rates = Bandwidths(cpu=cpu * GB, link=pinned * GB, link_mapped=pinned / 2 * GB, sync_s=0.0)
    [share] = pays(replayer, (0.25,), rates).shares
    assert share.pays == expected
    assert ((share.hit_rates["lru"] or 0) > share.needed) == expected


def test_a_curve_of_hits() -> None:
    trace = drawn_trace(Routing(0.2, 0.4), 400)
    curve = hit_curve(trace)
    assert curve[0] == (0.0, 0.0)
    assert curve[-1] == (1.0, 1.0)
    assert sorted(curve) == list(curve)
    assert sorted(hits for _, hits in curve) == [hits for _, hits in curve]
    assert dict(curve)[1 / 4] == Replayer(trace).of_share("lru", 0.25).hit_rate
