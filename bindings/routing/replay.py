"""A trace replayed through caches of experts: how often what is needed is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from .accesses import Access, Group, accesses, groups_of_share, is_served
from .policies import LeastFrequentlyUsed, LeastRecentlyUsed, Policy, Static
from .trace import Trace

PolicyName = Literal["lru", "lfu", "static", "best static"]
POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
"""lru: llama.cpp's cache. lfu: by counts. static: the first half of the ubatches decides which
experts are there, the second half is measured. best static: the trace's own counts decide, which
nobody knows before."""

Steps = list[list[Access]]


@dataclass
class LayerHits:
    """One layer's experts that were there, and that were not."""

    hits: int = 0
    misses: int = 0


@dataclass
class Replay:
    """What a cache would have done. An expert counts once for an ubatch and layer."""

    layers: dict[int, LayerHits] = field(default_factory=dict)
    """By number."""
    n_served: int = 0
    """Times that a layer asked the cache for an ubatch."""
    n_bypassed: int = 0
    """Times that it did not: more tokens than the cache takes, or than fit."""

    @property
    def hits(self) -> int:
        return sum(layer.hits for layer in self.layers.values())

    @property
    def misses(self) -> int:
        return sum(layer.misses for layer in self.layers.values())

    @property
    def hit_rate(self) -> float | None:
        """None if the cache was never asked."""
        n = self.hits + self.misses
        return self.hits / n if n else None


class Replayer:
    """Replays one trace, through as many caches as are asked for."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._steps = accesses(trace)

    def of_share(self, policy: PolicyName, share: float) -> Replay:
        """Through a cache of this share of all experts, on one device."""
        return self.run(policy, groups_of_share(self.trace, share))

    def run(self, policy: PolicyName, groups: Sequence[Group]) -> Replay:
        """Through the caches of these groups. Layers that are in none are left out."""
        steps, whole = self._steps, self._steps
        if policy == "static":
            half = len(steps) // 2
            whole, steps = steps[:half], steps[half:]
        replay = Replay()
        for group in groups:
            replay.layers |= {layer: LayerHits() for layer in group.layers}
            self._run(replay, group, steps, self._maker(policy, group, whole))
        return replay

    def _run(
        self, replay: Replay, group: Group, steps: Steps, make: Callable[[int], Policy]
    ) -> None:
        policy = make(group.n_slots)
        layers = frozenset(group.layers)
        for step in steps:
            for access in step:
                if access.layer not in layers:
                    continue
                if not self._is_served(access, group):
                    replay.n_bypassed += 1
                    continue
                n_misses = len(policy.use(access.keys))
                replay.n_served += 1
                replay.layers[access.layer].misses += n_misses
                replay.layers[access.layer].hits += len(access.keys) - n_misses

    def _maker(self, policy: PolicyName, group: Group, seen: Steps) -> Callable[[int], Policy]:
        if policy == "lru":
            return LeastRecentlyUsed
        if policy == "lfu":
            return LeastFrequentlyUsed
        uses = self._uses(group, seen)
        return lambda n_slots: Static(n_slots, uses)

    def _uses(self, group: Group, steps: Steps) -> Counter[int]:
        """How often each expert of a group was needed, those that never were included."""
        uses: Counter[int] = Counter(dict.fromkeys(self._keys(group), 0))
        for step in steps:
            for access in step:
                if access.layer in group.layers and self._is_served(access, group):
                    uses.update(access.keys)
        return uses

    def _keys(self, group: Group) -> Iterator[int]:
        n_expert = self.trace.model.n_expert
        for i, layer in enumerate(self.trace.layers):
            if layer in group.layers:
                yield from range(i * n_expert, (i + 1) * n_expert)

    def _is_served(self, access: Access, group: Group) -> bool:
        model = self.trace.model
        return is_served(access, group, model.n_expert, model.n_expert_used)
