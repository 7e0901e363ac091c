"""Who holds which bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("weights", "kv", "recurrent", "compute", "output", "moe_cache")


@dataclass(frozen=True)
class MemoryRow:
    """Bytes of one kind in one buffer type."""

    device: str
    """"CPU" for buffers in system memory."""
    buffer_type: str
    """ggml's name, e.g. "Vulkan0", "Vulkan_Host", "CPU_REPACK"."""
    is_host: bool
    kind: str
    """One of `KINDS`."""
    bytes: int


@dataclass(frozen=True)
class TensorRow:
    """Where one tensor of a model is, or would be."""

    name: str
    device: str
    """"CPU" for buffers in system memory."""
    buffer_type: str
    is_host: bool
    bytes: int


@dataclass(frozen=True)
class SequenceMemory:
    """What one sequence holds. Bytes of a shared cell count in full for each of its holders."""

    seq_id: int
    pos_min: int
    """-1 when empty."""
    pos_max: int
    n_cells: int
    """Cells of the KV cache that hold this sequence."""
    n_cells_shared: int
    kv_bytes: int
    recurrent_bytes: int
    recurrent_shared: bool


@dataclass(frozen=True)
class MemoryReport:
    """The engine's own figures for one context and its model, in bytes."""

    rows: tuple[MemoryRow, ...]
    sequences: tuple[SequenceMemory, ...]
    allocated: tuple[tuple[str, int], ...]
    """(buffer type, bytes) that ggml holds in this process, recorded at its allocator.
    Empty on an engine that was built without patches."""

    @property
    def total_bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def allocated_bytes(self) -> int:
        return sum(size for _, size in self.allocated)

    def kind_bytes(self, kind: str) -> int:
        """Bytes of one kind over all devices."""
        return sum(row.bytes for row in self.rows if row.kind == kind)

    def device_bytes(self, device: str) -> dict[str, int]:
        """Kind to bytes on one device; kinds that hold nothing are there as 0."""
        totals = dict.fromkeys(KINDS, 0)
        for row in self.rows:
            if row.device == device:
                totals[row.kind] += row.bytes
        return totals

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)
