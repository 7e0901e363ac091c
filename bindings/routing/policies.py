"""Which experts a cache keeps.

A policy is asked with the experts that one layer needs at once, `use(keys)`, and says which of them
it has not; it has them then. It has at least as many slots as it is asked for at once.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol


class Policy(Protocol):
    """A cache of some number of slots."""

    def use(self, keys: Sequence[int]) -> list[int]:
        """The misses, in rising order."""
        ...


class LeastRecentlyUsed:
    """As llama.cpp's (`moe_cache_lru::plan`): hits become the youngest in the order of their first
    use, then misses in rising order each take the oldest slot."""

    def __init__(self, n_slots: int) -> None:
        self._n_slots = n_slots
        self._slots: OrderedDict[int, None] = OrderedDict()

    def use(self, keys: Sequence[int]) -> list[int]:
        slots = self._slots
        misses = []
        for key in keys:
            if key in slots:
                slots.move_to_end(key)
            else:
                misses.append(key)
        misses.sort()
        for key in misses:
            if len(slots) == self._n_slots:
                slots.popitem(last=False)
            slots[key] = None
        return misses


class LeastFrequentlyUsed:
    """Counts uses from the beginning, those of experts that are not cached too ("perfect" LFU), and
    forgets none; of equal counts the least recently used one goes. Every miss is let in, because
    it is computed from the cache; so what is needed at once is not given up for each other."""

    def __init__(self, n_slots: int) -> None:
        self._n_slots = n_slots
        self._rank: dict[int, tuple[int, int]] = {}  # count, time of the last use
        self._heap: list[tuple[tuple[int, int], int]] = []  # ranks only rise: old ones are bounds
        self._cached: set[int] = set()
        self._time = 0

    def use(self, keys: Sequence[int]) -> list[int]:
        for key in keys:
            self._time += 1
            self._rank[key] = self._rank.get(key, (0, 0))[0] + 1, self._time
        misses = sorted(key for key in keys if key not in self._cached)
        needed = set(keys) if misses else ()
        kept = []
        for key in misses:
            if len(self._cached) == self._n_slots:
                kept += self._evict(needed)
            self._cached.add(key)
        for key in (*kept, *misses):
            heapq.heappush(self._heap, (self._rank[key], key))
        return misses

    def _evict(self, needed: Iterable[int]) -> list[int]:
        """Give up one that is not needed now; returns those that were passed over."""
        passed = []
        while True:
            rank, key = self._heap[0]
            if key in needed:
                passed.append(key)
                heapq.heappop(self._heap)
            elif rank != self._rank[key]:
                heapq.heapreplace(self._heap, (self._rank[key], key))
            else:
                heapq.heappop(self._heap)
                self._cached.discard(key)
                return passed


class Static:
    """The experts with most uses, for good. A miss is computed elsewhere."""

    def __init__(self, n_slots: int, uses: Counter[int]) -> None:
        self._chosen = {key for key, _ in uses.most_common(n_slots)}

    def use(self, keys: Sequence[int]) -> list[int]:
        return sorted(key for key in keys if key not in self._chosen)
