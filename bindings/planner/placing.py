"""The fastest place for a model's weights around a context of a given size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..errors import ArgumentError, ContextError
from ..layer_split import split_layers
from ..server.config import EngineConfig
from .arrangement import Arrangement
from .budget import HOST
from .cost import Cost, Costs
from .facts import ModelFacts
from .speed import HITS, Bandwidths, HitCurve, seconds_per_token
from .wish import Wish

Kind = Literal["devices", "layers", "cache", "system"]
"""Where experts are: all on devices, those of some layers, a cache of them, or none."""

ROUNDS = 4
"""How often a split or a cache is made anew from what the last one took."""


@dataclass(frozen=True)
class Placed:
    """A configuration that fits, what it takes, and how fast it should be."""

    config: EngineConfig
    cost: Cost
    seconds: float
    """Time of a token, by the model of `speed.py`."""

    @property
    def kind(self) -> Kind:
        """Where the experts are."""
        on_host = self.cost.expert_bytes.get(HOST, 0)
        if not on_host:
            return "devices"
        if self.config.moe_cache_mib:
            return "cache"
        return "layers" if sum(self.cost.expert_bytes.values()) > on_host else "system"


class Placer:
    """Places weights for one wish."""

    def __init__(
        self,
        wish: Wish,
        facts: ModelFacts,
        costs: Costs,
        bandwidths: Bandwidths,
        hits: HitCurve = HITS,
    ) -> None:
        self.wish = wish
        self.facts = facts
        self.costs = costs
        self.bandwidths = bandwidths
        self.hits = hits

    def try_as_is(self, config: EngineConfig) -> Placed | None:
        """The configuration itself, if it can be and fits."""
        try:
            cost = self.costs(config)
        except (ContextError, ArgumentError):
            return None
        if cost.excess(self.wish.budgets):
            return None
        return Placed(config, cost, self.seconds(cost, config))

    def seconds(self, cost: Cost, config: EngineConfig) -> float:
        """Time of a token."""
        budgets, rates = self.wish.budgets, self.bandwidths
        return seconds_per_token(cost, config, self.facts, budgets, rates, self.hits)

    def place(self, config: EngineConfig) -> Placed | None:
        """The fastest that fits, by the model of `speed.py`."""
        if not self.wish.places:
            return self.try_as_is(config)
        return min(self.ways(config), key=lambda way: way.seconds, default=None)

    def ways(self, config: EngineConfig) -> list[Placed]:
        """What fits: all experts in system memory, some of them on the devices, a cache of them;
        or some of the layers."""
        base = self.layers_only(config)
        if base is None:
            return [some] if (some := self.some_layers(config)) else []
        ways = [base, self.with_experts(config), self.with_cache(base)]
        return [way for way in ways if way]

    def layers_only(self, config: EngineConfig) -> Placed | None:
        """All layers on the devices, all experts in system memory."""
        return self._balanced(config, len(self.facts.layers) + 1, 0.0)

    def with_experts(self, config: EngineConfig) -> Placed | None:
        """All layers on the devices, and as many experts as go with them."""
        if not self.facts.moe_layers:
            return None
        n_all = len(self.facts.layers) + 1
        if self._can_hold_all() and (whole := self._balanced(config, n_all, 1.0)):
            return whole
        bare = self._balanced(config, n_all, 0.0)
        if bare is None:
            return None
        room = sum(b.usable_bytes - bare.cost.used_bytes(b.device) for b in self.wish.devices)
        share = min(1.0, room / sum(layer.expert_bytes for layer in self.facts.layers))
        return self._fill(config, self._split(bare.cost, n_all, share))

    def with_cache(self, base: Placed) -> Placed | None:
        """What the devices have left as a cache of the experts in system memory."""
        facts, config = self.facts, base.config
        if not facts.moe_layers or "moe_cache_mib" in self.wish.fixed:
            return None
        if any(budget.type != "gpu" for budget in self.wish.devices):
            return None
        expert = max(one.expert_bytes for one in facts.layers) // facts.n_expert
        least = expert * min(facts.n_expert, config.n_parallel * facts.n_expert_used)
        cache = self._room(base.cost)
        for _ in range(ROUNDS):
            if cache < least:
                return None
            one = replace(config, moe_cache_mib=cache >> 20)
            try:
                cost = self.costs(one)
            except (ContextError, ArgumentError):
                return None
            if not (excess := cost.excess(self.wish.budgets)):
                return Placed(one, cost, self.seconds(cost, one))
            cache -= sum(excess.values()) + (1 << 20)
        return None

    def some_layers(self, config: EngineConfig) -> Placed | None:
        """As many layers on the devices as fit, from the end; their experts not."""
        low, high, best = 0, len(self.facts.layers), None
        while low <= high:
            middle = (low + high) // 2
            placed = self._balanced(config, middle, 0.0)
            if placed is None:
                high = middle - 1
            else:
                low, best = middle + 1, placed
        return best

    def _balanced(self, config: EngineConfig, n_layers: int, share: float) -> Placed | None:
        """So many layers, split by what they take; with all of their experts or none."""
        experts = frozenset() if share else frozenset(self.facts.moe_layers)
        n_devices = len(self.wish.devices)
        runs = self._split(None, n_layers, share)
        seen: set[tuple[int, ...]] = set()
        while runs not in seen and len(seen) < ROUNDS:
            seen.add(runs)
            one = self._apply(config, Arrangement(runs, experts))
            if placed := self.try_as_is(one):
                return placed
            if n_devices == 1 or not n_layers:
                return None
            try:
                runs = self._split(self.costs(one), n_layers, share)
            except (ContextError, ArgumentError):
                return None
        return None

    def _split(self, cost: Cost | None, n_layers: int, share: float) -> tuple[int, ...]:
        """Runs of layers over the devices, with this share of the experts, by the room that is
        left beside what is no layer's."""
        if not n_layers:
            return (0,) * len(self.wish.devices)
        loads = self._loads(cost, share)[-n_layers:]
        room = [float(budget.usable_bytes) for budget in self.wish.devices]
        if cost is not None:
            for i, budget in enumerate(self.wish.devices):
                compute = cost.kind_bytes("compute", budget.device)
                room[i] -= compute + cost.kind_bytes("output", budget.device)
        return split_layers(loads, room)

    def _loads(self, cost: Cost | None, share: float) -> list[float]:
        """Bytes of each layer, the output last: weights, cells and states."""
        layers = self.facts.layers
        n_attending = sum(layer.attends for layer in layers) or 1
        n_recurrent = sum(layer.is_recurrent for layer in layers) or 1
        kv = cost.kind_bytes("kv") / n_attending if cost else 0.0
        states = cost.kind_bytes("recurrent") + cost.kind_bytes("rollback") if cost else 0
        state = states / n_recurrent
        loads = [
            layer.rest_bytes
            + share * layer.expert_bytes
            + kv * layer.attends
            + state * layer.is_recurrent
            for layer in layers
        ]
        return [*loads, float(self.facts.output_bytes)]

    def _fill(self, config: EngineConfig, runs: tuple[int, ...]) -> Placed | None:
        """Experts onto devices, from each one's last layer on; fewer until it fits."""
        bare = Arrangement(runs, frozenset(self.facts.moe_layers))
        cost = self.costs(self._apply(config, bare))
        kept = {
            budget.device: budget.usable_bytes - cost.used_bytes(budget.device)
            for budget in self.wish.devices
        }
        for _ in range(2 * ROUNDS):
            arrangement = self._with_room(bare, kept)
            one = self._apply(config, arrangement)
            cost = self.costs(one)
            excess = cost.excess(self.wish.devices)
            if not excess:
                return self.try_as_is(one)
            for device, n_bytes in excess.items():
                kept[device] -= n_bytes
        return None

    def _with_room(self, bare: Arrangement, room: dict[str, int]) -> Arrangement:
        """The experts that go into so much room on each device."""
        on_cpu = set(self.facts.moe_layers)
        for i, budget in enumerate(self.wish.devices):
            left = room[budget.device]
            for layer in reversed(bare.layers_of(i, len(self.facts.layers) + 1)):
                if layer not in on_cpu:
                    continue
                left -= self.facts.layers[layer].expert_bytes
                if left < 0:
                    break
                on_cpu.discard(layer)
        return Arrangement(bare.n_layers, frozenset(on_cpu))

    def _apply(self, config: EngineConfig, arrangement: Arrangement) -> EngineConfig:
        return arrangement.apply(config, len(self.facts.moe_layers))

    def _can_hold_all(self) -> bool:
        layers = self.facts.layers
        weights = sum(layer.rest_bytes + layer.expert_bytes for layer in layers)
        return weights <= sum(budget.usable_bytes for budget in self.wish.devices)

    def _room(self, cost: Cost) -> int:
        """What a cache can have: it is split like the layers, so the tightest device decides."""
        rooms = [b.usable_bytes - cost.used_bytes(b.device) for b in self.wish.devices]
        assert HOST not in [budget.device for budget in self.wish.devices]
        return min(rooms) * len(rooms)
