"""What a conversion writes, and how far it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..placement import PlacedOn, PlacementRow
from ..roles import ROLES, Role


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the file to be written."""

    name: str
    shape: tuple[int, ...]
    """ggml order: the row length first."""
    source_type: str
    """What the checkpoint holds, once upstream has mapped it; F32 for any width of float."""
    type: str
    n_bytes: int
    role: Role
    device: PlacedOn = "gpu"


@dataclass(frozen=True)
class Plan:
    """What a conversion writes."""

    files: tuple[Path, ...]
    """The file, or the shards of the set."""
    architecture: str
    """The checkpoint's class."""
    quant: str
    """The recipe."""
    pre: str | None
    """llama.cpp's name of the pre-tokenizer; None for tokenizers without one."""
    tensors: tuple[TensorPlan, ...]
    """In the order of the file."""
    placement: tuple[PlacementRow, ...]
    peak_memory_bytes: int
    """Estimate of the most memory that the conversion holds at once."""

    @property
    def out(self) -> Path:
        """The file to load: the first, where there are several."""
        return self.files[0]

    @property
    def n_tensors(self) -> int:
        return len(self.tensors)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensors; the file adds its header and vocabulary."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def types(self) -> dict[str, int]:
        """How many tensors of each type."""
        return dict(Counter(tensor.type for tensor in self.tensors))

    @property
    def role_bytes(self) -> dict[Role, int]:
        """Bytes by role, for the roles that there are."""
        sizes = {
            role: sum(tensor.n_bytes for tensor in self.tensors if tensor.role == role)
            for role in ROLES
        }
        return {role: n_bytes for role, n_bytes in sizes.items() if n_bytes}


@dataclass
class ConvertProgress:
    """How far a conversion is. `plan` is known before the first byte is written."""

    plan: Plan
    tensor: str = ""
    """The one that was written to last."""
    n_tensors: int = 0
    """Whole ones."""
    n_bytes: int = field(default=0)
