"""What is asked of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..server.config import EngineConfig
from .budget import HOST, Budget

Prefer = Literal["speed", "context", "clients"]

PLACING = frozenset(
    {
        *("n_gpu_layers", "experts", "n_cpu_moe", "tensor_overrides", "tensor_split"),
        *("split_mode", "main_gpu"),
    }
)
"""Fields that say where weights go: with one of them given, all of that is."""

PLANNABLE = PLACING | {
    *("n_ctx", "n_batch", "n_ubatch", "n_parallel", "cache_type_k", "cache_type_v"),
    *("moe_cache_mib", "repack"),
}
"""Fields of a configuration that a plan chooses where nobody gave them."""


@dataclass(frozen=True)
class Wish:
    """A configuration of which some fields stay as they are, and the room for it."""

    config: EngineConfig
    fixed: frozenset[str]
    """Fields of `config` that were asked for; the others are the plan's to choose."""
    budgets: tuple[Budget, ...]
    """The devices in the engine's order, and system memory, if its size is known."""
    prefer: Prefer = "speed"

    @property
    def devices(self) -> tuple[Budget, ...]:
        """All but system memory."""
        return tuple(budget for budget in self.budgets if budget.device != HOST)

    @property
    def places(self) -> bool:
        """Whether the plan chooses where weights go."""
        return bool(self.devices) and not self.fixed & PLACING
