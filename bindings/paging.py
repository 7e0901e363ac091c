"""Models whose weights in system memory are more than there is room for: mapped, and read from the
file again whenever the kernel had to drop them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .errors import ModelError
from .memory import HOST, MAPPED, TensorRow
from .modelfile import ModelFile
from .weight_reads import weight_reads

if TYPE_CHECKING:
    from .planner.speed import Bandwidths

SPARE = 8
"""One part in so many of the available memory stays free, for what is no weight."""
GIB = 1 << 30


@dataclass(frozen=True)
class Paging:
    """What of a model has room in memory, and what a token reads from the disk. In bytes."""

    weight_bytes: int
    """Weights in system memory."""
    room_bytes: int
    """What they can have there."""
    expert_bytes: int
    """Routed experts among them."""
    other_bytes: int
    """What else of them every token reads."""
    used_fraction: float
    """Of the experts, how many work for a token."""
    device_bytes: float = 0.0
    """What a token reads of weights elsewhere, on GPUs."""
    seconds: float | None = None
    """What a token should take for one client; None: nobody asked."""

    @property
    def missing_bytes(self) -> int:
        """Weights without room."""
        return self.weight_bytes - self.room_bytes

    @property
    def cached_share(self) -> float:
        """Of the experts, when all else that every token reads is in memory."""
        room = self.room_bytes - self.other_bytes
        return min(1.0, max(0.0, room / self.expert_bytes)) if self.expert_bytes else 0.0

    @property
    def disk_bytes(self) -> float:
        """Read from the disk for one token: experts that were not used for long, and, where it
        has no room, all else: what is read in turn is dropped before it is needed again."""
        from .planner.speed import hit_rate

        missed = self.expert_bytes * self.used_fraction * (1 - hit_rate(self.cached_share))
        return missed + (self.other_bytes if self.other_bytes > self.room_bytes else 0)

    def seconds_per_token(self, rates: Bandwidths) -> float:
        """Of one client: the CPU reads every byte, some of them after the disk did."""
        read = self.other_bytes + self.expert_bytes * self.used_fraction
        on_host = read / rates.cpu + self.disk_bytes / rates.disk
        return on_host + self.device_bytes / rates.gpu

    def as_dict(self) -> dict[str, float | None]:
        """JSON-ready."""
        return {**asdict(self), "missing_bytes": self.missing_bytes, "disk_bytes": self.disk_bytes}

    def __str__(self) -> str:
        rate = f", about {1 / self.seconds:.2g} tokens/s for one client" if self.seconds else ""
        return (
            f"{self.weight_bytes / GIB:.1f} GiB of weights in system memory, "
            f"{self.missing_bytes / GIB:.1f} GiB more than there is room for: they are read from "
            f"the file when they are needed, {self.disk_bytes / 1e6:.0f} MB for each token{rate}"
        )


def find_paging(file: ModelFile, tensors: Sequence[TensorRow], available: int) -> Paging | None:
    """What a model does whose tensors are placed so, if memory has no room for them."""
    from .planner.facts import ModelFacts

    on_host = sum(tensor.bytes for tensor in tensors if tensor.device == HOST)
    if on_host <= room_in(available):
        return None
    experts, others = weight_reads(tensors)
    used = ModelFacts.of(file).used_fraction
    reads = {
        device: others.get(device, 0) + experts.get(device, 0) * used for device in experts | others
    }
    return Paging(
        weight_bytes=on_host,
        room_bytes=room_in(available),
        expert_bytes=experts.get(HOST, 0),
        other_bytes=others.get(HOST, 0),
        used_fraction=used,
        device_bytes=sum(reads.values()) - reads.get(HOST, 0.0),
    )


def check_mapped(
    tensors: Sequence[TensorRow], available: int, load_mode: str, locked: Collection[str] = ()
) -> None:
    """Raise ModelError for weights that would be copied into memory that does not have the room,
    or locked there: all by the load mode, or those with the names `locked`."""

    def is_held(tensor: TensorRow) -> bool:
        return "mlock" in load_mode or tensor.name in locked or not is_mapped([tensor])

    held = sum(tensor.bytes for tensor in tensors if tensor.device == HOST and is_held(tensor))
    if held > available:
        raise ModelError(
            f"weights of {held / GIB:.1f} GiB have to be in system memory, which has "
            f"{available / GIB:.1f} GiB available: copied, pinned or locked they do not fit. With "
            "--load-mode mmap and --host-memory mmap they are read from the file when they are "
            "needed"
        )


def is_mapped(tensors: Sequence[TensorRow]) -> bool:
    """Whether any of them would be pages of the file."""
    return any(tensor.buffer_type.endswith(MAPPED) for tensor in tensors)


def room_in(available: int) -> int:
    """What weights can have of the available memory."""
    return available - available // SPARE
