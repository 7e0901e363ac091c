"""Where layers and experts are, and how the engine is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ..layer_ranges import ranges_text
from ..server.config import EngineConfig


@dataclass(frozen=True)
class Arrangement:
    """How many layers each device has, the last ones of the model, the output counting as one;
    and whose experts are in system memory all the same."""

    n_layers: tuple[int, ...]
    cpu_experts: frozenset[int] = frozenset()

    def apply(self, config: EngineConfig, n_moe_layers: int) -> EngineConfig:
        """The configuration with these flags; `n_moe_layers` is how many have experts."""
        split = tuple(float(n) for n in self.n_layers) if len(self.n_layers) > 1 else ()
        return replace(
            config,
            n_gpu_layers=sum(self.n_layers),
            tensor_split=split if sum(split) else (),
            experts=self._experts(n_moe_layers) if n_moe_layers else None,
        )

    def _experts(self, n_moe_layers: int) -> str:
        if len(self.cpu_experts) in (0, n_moe_layers):
            return "cpu" if self.cpu_experts else "gpu"
        return f"cpu:{ranges_text(self.cpu_experts)}"

    def layers_of(self, device: int, n_all: int) -> range:
        """Which layers a device has, of `n_all` with the output's."""
        begin = n_all - sum(self.n_layers) + sum(self.n_layers[:device])
        return range(begin, begin + self.n_layers[device])


def split_layers(loads: Sequence[float], capacities: Sequence[float]) -> tuple[int, ...]:
    """Lengths of the runs of layers that fill devices in their order as evenly as can be: the
    largest load in proportion to its capacity is smallest."""
    if len(capacities) == 1:
        return (len(loads),)
    shares = [max(1.0, capacity) for capacity in capacities]
    low, high = 0.0, sum(loads) / min(shares) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(_runs(loads, [middle * share for share in shares])) == len(loads):
            high = middle
        else:
            low = middle
    return _runs(loads, [high * share for share in shares])


def _runs(loads: Sequence[float], limits: Sequence[float]) -> tuple[int, ...]:
    """As many layers as each device takes, in order; not all of them if they do not fit."""
    runs, begin = [], 0
    for limit in limits:
        n = sum(total <= limit for total in accumulate(loads[begin:]))
        runs.append(n)
        begin += n
    return tuple(runs)
