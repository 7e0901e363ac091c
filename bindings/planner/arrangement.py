"""Where layers and experts are, and how the engine is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
