"""Where layers and experts are, and how the engine is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ..placement import EXPERTS, Override
from ..server.config import EngineConfig


@dataclass(frozen=True)
class Arrangement:
    """How many layers each device has, the last ones of the model, the output counting as one;
    and whose experts are in system memory all the same."""

    n_layers: tuple[int, ...]
    cpu_experts: frozenset[int] = frozenset()

    def apply(self, config: EngineConfig, n_moe_layers: int) -> EngineConfig:
        """The configuration with these flags; `n_moe_layers` is how many have experts."""
        all_on_cpu = len(self.cpu_experts) == n_moe_layers > 0
        rows = () if all_on_cpu or not self.cpu_experts else (_row(self.cpu_experts),)
        split = tuple(float(n) for n in self.n_layers) if len(self.n_layers) > 1 else ()
        return replace(
            config,
            n_gpu_layers=sum(self.n_layers),
            tensor_split=split if sum(split) else (),
            experts=("cpu" if all_on_cpu else "gpu") if n_moe_layers else None,
            tensor_overrides=rows,
        )

    def layers_of(self, device: int, n_all: int) -> range:
        """Which layers a device has, of `n_all` with the output's."""
        begin = n_all - sum(self.n_layers) + sum(self.n_layers[:device])
        return range(begin, begin + self.n_layers[device])


def _row(layers: frozenset[int]) -> Override:
    numbers = "|".join(str(layer) for layer in sorted(layers))
    return (rf"blk\.({numbers}){EXPERTS}", "CPU")


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
