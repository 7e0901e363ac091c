"""Replay, held against a second implementation that is slow and has nothing in common with it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pannier.routing import Trace
from pannier.routing.accesses import Group, groups_of_bytes, groups_of_share
from pannier.routing.policies import LeastFrequentlyUsed, LeastRecentlyUsed
from pannier.routing.replay import POLICIES, Replayer
from pannier.synth.routing import Routing

from .traces import drawn_trace, random_trace, trace_of

SLOTS = [2, 3, 7, 16, 20, 40]


def slow_lru(trace: Trace, layers: tuple[int, ...], n_slots: int) -> dict[int, tuple[int, int]]:
    """llama.cpp's cache with a time for each slot in the place of a list: hits and misses by
    layer."""
    model = trace.model
    key = [(-1, -1)] * n_slots
    used_at = list(range(-n_slots, 0))
    now = 0
    found = dict.fromkeys(layers, (0, 0))
    for ubatch in trace.ubatches:
        for i, rows in enumerate(ubatch.experts):
            n = len(rows)
            if trace.layers[i] not in layers or n == 0 or n > 32:
                continue
            if min(n * model.n_expert_used, model.n_expert) > n_slots:
                continue
            uniq = []
            for expert in rows.ravel().tolist():
                if expert not in uniq:
                    uniq.append(expert)
            hits = [expert for expert in uniq if (i, expert) in key]
            for expert in hits:
                used_at[key.index((i, expert))] = now = now + 1
            misses = sorted(set(uniq) - set(hits))
            for expert in misses:
                slot = used_at.index(min(used_at))
                key[slot] = (i, expert)
                used_at[slot] = now = now + 1
            old = found[trace.layers[i]]
            found[trace.layers[i]] = (old[0] + len(hits), old[1] + len(misses))
    return found


@pytest.mark.parametrize("n_slots", SLOTS)
@pytest.mark.parametrize("seed", range(4))
def test_the_least_recently_used_as_llama_cpp_does_it(seed: int, n_slots: int) -> None:
    trace = random_trace(seed)
    groups = (Group((0, 1), n_slots), Group((2,), max(2, n_slots // 2)))
    replay = Replayer(trace).run("lru", groups)
    wanted = slow_lru(trace, (0, 1), n_slots) | slow_lru(trace, (2,), groups[1].n_slots)
    assert {k: (v.hits, v.misses) for k, v in replay.layers.items()} == wanted
    n_asked = sum(len(rows) > 0 for ubatch in trace.ubatches for rows in ubatch.experts)
    assert replay.n_served + replay.n_bypassed == n_asked
    assert replay.n_bypassed > 0


def test_hits_are_touched_before_misses_are_let_in() -> None:
    cache = LeastRecentlyUsed(3)
    assert cache.use([5, 1, 3]) == [1, 3, 5]
    assert cache.use([7, 1]) == [7], "3 is the oldest when 1 has been touched"
    assert cache.use([5, 1]) == []
    assert cache.use([3]) == [3]


def test_a_group_without_room_for_a_token_has_no_cache() -> None:
    replay = Replayer(random_trace(0)).run("lru", [Group((0, 1, 2), 1)])
    assert (replay.n_served, replay.hit_rate) == (0, None)


@pytest.mark.parametrize("n_slots", [3, 7, 20])
def test_the_least_frequently_used(n_slots: int) -> None:
    """By looking through all that are cached, each time that one has to go."""
    trace = drawn_trace(Routing(0.6, 0.5), 400, n_layers=1, n_expert=24, n_used=3)
    cache = LeastFrequentlyUsed(n_slots)
    count: Counter[int] = Counter()
    last: dict[int, int] = {}
    cached: set[int] = set()
    for now, ubatch in enumerate(trace.ubatches):
        keys = ubatch.experts[0].ravel().tolist()
        for i, key in enumerate(keys):
            count[key] += 1
            last[key] = now * len(keys) + i
        misses = sorted(set(keys) - cached)
        for key in misses:
            if len(cached) == n_slots:
                free = cached - set(keys)
                cached.remove(min(free, key=lambda key: (count[key], last[key])))
            cached.add(key)
        assert cache.use(keys) == misses


def test_static_sets() -> None:
    """Layer 0 uses expert 0 in the first half and 1 in the second; layer 1 uses expert 2."""
    chosen = [[np.array([[t >= 6]]), np.array([[2]])] for t in range(10)]
    replayer = Replayer(trace_of(chosen, 4))
    share = 2 / 8
    assert replayer.of_share("best static", share).hit_rate == 16 / 20
    decided = replayer.of_share("static", share)
    assert (decided.hits, decided.misses) == (1 + 5, 4), "the second half only"
    assert [layer.hits for layer in decided.layers.values()] == [1, 5]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_larger_cache_hits_more(policy: str) -> None:
    replayer = Replayer(drawn_trace(Routing(0.4, 0.4), 500))
    rates = [replayer.of_share(policy, share).hit_rate for share in (0.1, 0.25, 0.5, 1.0)]
    assert rates == sorted(rates)
    assert rates[-1] == 1.0 if "static" in policy else rates[-1] > 0.8


def test_no_static_set_is_better_than_the_best() -> None:
    replayer = Replayer(drawn_trace(Routing(0.4, 0.0), 500))
    n = {}
    for policy in ("best static", "static"):
        n[policy] = replayer.of_share(policy, 0.25).hit_rate
    assert n["best static"] > n["static"] > 0.25, "an even set would have a quarter"


def test_groups() -> None:
    trace = random_trace(0)
    assert groups_of_share(trace, 0.25) == (Group((0, 1), 8), Group((2,), 4))
    # two thirds of 32 experts of 1000 bytes, one of 16 of 1500: 4/7 and 3/7 of the bytes
    assert groups_of_bytes(trace, 28000) == (Group((0, 1), 15), Group((2,), 7))
    assert groups_of_bytes(trace, 10**9) == (Group((0, 1), 32), Group((2,), 16))
    assert groups_of_bytes(trace, 0) == (Group((0, 1), 0), Group((2,), 0))
