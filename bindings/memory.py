"""Who holds which bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .roles import Role
from .sharing import CellGroup

KINDS = ("weights", "kv", "recurrent", "compute", "output", "moe_cache", "rollback", "lora")
"""In the order of the engine's numbers."""
HOST = "CPU"
"""The device that buffers in system memory count under."""
MAPPED = "_Mapped"
"""End of the names of buffers that are pages of the file: the kernel takes them back at need."""


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
    """What one sequence holds."""

    seq_id: int
    pos_min: int
    """-1 when empty."""
    pos_max: int
    n_cells: int
    """Cells of the KV cache that hold this sequence."""
    n_cells_shared: int
    """Of these, cells that hold others too."""
    kv_bytes: int
    """Of its cells in all KV caches, shared ones in full."""
    kv_private_bytes: int
    """Of the cells that nobody else holds."""
    kv_shared_bytes: int
    """Its part of the shared cells: their bytes by the number of their sharers."""
    recurrent_bytes: int
    """Of its recurrent state, or its part of a shared one."""
    rollback_bytes: int
    """Of the state's rollback planes, likewise."""
    recurrent_shared: bool
    """Another sequence has the same state, until one of them decodes."""

    @property
    def owned_bytes(self) -> int:
        """All of it. Summed over the sequences and with what is free, the caches."""
        return (
            self.kv_private_bytes
            + self.kv_shared_bytes
            + self.recurrent_bytes
            + self.rollback_bytes
        )


@dataclass(frozen=True)
class DeviceMemory:
    """One device: what owners of this context and its model hold there, and the rest."""

    name: str
    """"CPU" is system memory, pinned buffers included."""
    description: str
    type: str
    """"cpu", "gpu", "igpu" or "accel"."""
    total_bytes: int
    free_bytes: int
    process_bytes: int | None
    """What the driver says this process holds there; None where it does not say."""
    kinds: Mapping[str, int]
    """Kind to bytes, all of `KINDS`."""
    weights: Mapping[Role, int]
    """Role to bytes; "other" has the padding of buffers too. Their sum is the kind's."""
    pool_bytes: int = 0
    """Scratch memory of the backend beside ggml's buffers, where it tells (Vulkan)."""
    checkpoint_bytes: int = 0
    """Saved states of sequences, where a server keeps some."""

    @property
    def owned_bytes(self) -> int:
        """Sum over the owners."""
        return sum(self.kinds.values()) + self.pool_bytes + self.checkpoint_bytes

    @property
    def untracked_bytes(self) -> int:
        """What the process holds there (or all that is in use, where nobody says) and no owner
        does: the driver's share, and what is outside ggml."""
        in_use = self.total_bytes - self.free_bytes
        known = in_use if self.process_bytes is None else self.process_bytes
        return max(0, known - self.owned_bytes)


@dataclass(frozen=True)
class MemoryReport:
    """The engine's own figures for one context and its model, in bytes."""

    rows: tuple[MemoryRow, ...]
    """By buffer type and kind."""
    sequences: tuple[SequenceMemory, ...]
    """All of the context's, empty ones too."""
    allocated: tuple[tuple[str, int], ...]
    """(buffer type, bytes) that ggml holds in this process, recorded at its allocator.
    Empty on an engine that was built without patches."""
    cells: tuple[CellGroup, ...]
    """Cells and recurrent states that are held, by who holds them."""
    devices: tuple[DeviceMemory, ...]
    """Every device of the engine."""

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
