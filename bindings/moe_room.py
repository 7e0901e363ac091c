"""How large a cache of experts has to be, by llama.cpp's rules and where a model's tensors are.

The size is divided among layouts (layers whose experts have equal types and shapes) by their
bytes, so that each holds the same share of its experts; and each layout has one slot to spare
(`llama_moe_cache::impl` in llama.cpp's `src/llama-moe-cache.cpp`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .device import devices
from .errors import ContextError

if TYPE_CHECKING:
    from .memory import TensorRow
    from .model import Model

Layout = tuple[int, ...]
"""Bytes of one expert in each tensor of a layer."""
_EXPERTS = re.compile(r"blk\.(\d+)\.ffn_(?:gate_up|gate|up|down)_exps\.weight")


def least_cache_bytes(layouts: Sequence[Layout], n_slots: int) -> int:
    """The size with which each layout of these layers has so many slots; 0 without layers."""
    if not layouts:
        return 0
    total = sum(map(sum, layouts))
    return -(-(n_slots + 1) * total // min(Counter(layouts).values()))


@dataclass(frozen=True)
class MoeRoom:
    """What of a model can be cached.

    Attributes:
        layouts: by layer, of those whose experts are all in system memory as the file has them.
        n_elsewhere: layers whose experts, or some, are on a device, or repacked for the CPU.
    """

    n_expert: int
    n_expert_used: int
    layouts: dict[int, Layout]
    n_elsewhere: int

    def n_slots(self, n_tokens: int) -> int:
        """Slots that the experts of so many tokens of one step may need."""
        return min(n_tokens * self.n_expert_used, self.n_expert)

    def least_bytes(self, n_tokens: int) -> int:
        """The cache that holds the experts of so many tokens of one step, in any layer."""
        return least_cache_bytes(list(self.layouts.values()), self.n_slots(n_tokens))

    def check(self, n_bytes: int) -> None:
        """Raises ContextError where llama.cpp would cache no layer."""
        counts = Counter(self.layouts.values())
        if not counts:
            return
        one = max(counts, key=lambda layout: counts[layout])
        least = (self.n_expert_used + 1) * sum(map(sum, self.layouts.values())) // counts[one]
        if n_bytes < least:
            raise ContextError(
                f"a cache of {n_bytes} bytes is too small for the experts of one token: "
                f"{self.n_expert_used} of {sum(one)} bytes and one to spare, in the proportion of "
                f"{len(self.layouts)} layers of {len(counts)} layouts, take {least}; give more, "
                "or 0 for no cache"
            )


def room_of(model: Model) -> MoeRoom:
    """By the model's tensors, which may be planned ones (`no_alloc`)."""
    layouts, n_elsewhere = _layouts(model.tensors, max(1, _number(model, "expert_count")))
    return MoeRoom(
        n_expert=_number(model, "expert_count"),
        n_expert_used=_number(model, "expert_used_count"),
        layouts=layouts,
        n_elsewhere=n_elsewhere,
    )


def check_cache(model: Model, n_bytes: int) -> None:
    """Raises ContextError where llama.cpp could make no such cache for the model."""
    if not n_bytes:
        return
    if not _number(model, "expert_count"):
        raise ContextError(f"{model.path} has no experts: there is nothing to cache")
    gpus = [device.name for device in devices() if device.type in ("gpu", "igpu")]
    if not gpus or (model.devices and not set(gpus) & set(model.devices)):
        raise ContextError(
            "a cache of experts needs a GPU, and this model uses none; give 0 for no cache"
        )
    room_of(model).check(n_bytes)


def _layouts(tensors: Iterable[TensorRow], n_expert: int) -> tuple[dict[int, Layout], int]:
    sizes: dict[int, list[int]] = defaultdict(list)
    elsewhere: set[int] = set()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        if match := _EXPERTS.fullmatch(tensor.name):
            layer = int(match[1])
            sizes[layer].append(tensor.bytes // n_expert)
            if not _as_in_the_file(tensor):
                elsewhere.add(layer)
    there = {layer: tuple(sizes[layer]) for layer in sorted(sizes) if layer not in elsewhere}
    return there, len(elsewhere)


def _as_in_the_file(tensor: TensorRow) -> bool:
    return tensor.buffer_type in ("CPU", "CPU_Mapped") or tensor.buffer_type.endswith("_Host")


def _number(model: Model, key: str) -> int:
    """The largest, where there is one for each layer."""
    text = model.metadata.get(f"{model.metadata['general.architecture']}.{key}", "0")
    return max(map(int, re.findall(r"\d+", text)), default=0)
