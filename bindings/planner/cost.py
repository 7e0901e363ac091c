"""What a configuration takes: the seam between the search and the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .. import memory
from ..host_memory import HostMemory
from ..memory import MemoryRow
from ..server.config import EngineConfig
from .budget import HOST, Budget

MAPPED = memory.MAPPED
"""End of the names of buffers that are pages of the file."""


@dataclass(frozen=True)
class Cost:
    """Bytes of a model and a context that has just been created."""

    rows: tuple[MemoryRow, ...]
    n_ctx: int
    n_sequences: int
    kv_cell_bytes: int
    """One token's keys and values in the full-size cache."""
    state_bytes: int
    """One sequence's recurrent state, without planes of rollback."""
    n_rollback: int = 0
    """Planes of rollback, of `state_bytes` each, for each sequence."""
    window_bytes: int = 0
    """One sequence's cells in sliding-window layers, at most."""
    expert_bytes: Mapping[str, int] = field(default_factory=dict)
    """Routed experts by device."""
    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    """Other weights that every token reads, by device."""
    host_memory: HostMemory = field(default_factory=HostMemory)
    """What the weights in system memory lie in. Pages of the file that are locked have to be
    there."""

    def kind_bytes(self, kind: str, device: str | None = None) -> int:
        """Bytes of one kind, on one device or on all."""
        return sum(
            row.bytes
            for row in self.rows
            if row.kind == kind and (device is None or row.device == device)
        )

    def used_bytes(self, device: str) -> int:
        """Bytes that have to be there on a device."""
        held = sum(
            row.bytes
            for row in self.rows
            if row.device == device and not (device == HOST and row.buffer_type.endswith(MAPPED))
        )
        return held + (self.host_memory.kind_bytes("locked") if device == HOST else 0)

    def mapped_bytes(self) -> int:
        """Pages of the file."""
        return sum(row.bytes for row in self.rows if row.buffer_type.endswith(MAPPED))

    def excess(self, budgets: tuple[Budget, ...]) -> dict[str, int]:
        """Device to bytes beyond its budget; empty if all fits."""
        over = {one.device: self.used_bytes(one.device) - one.usable_bytes for one in budgets}
        return {device: n_bytes for device, n_bytes in over.items() if n_bytes > 0}


Costs = Callable[[EngineConfig], Cost]
"""Raises ContextError or ArgumentError for a configuration that cannot be at all."""
