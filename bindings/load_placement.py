"""Where a model's experts go when it is loaded: what the caller says, else what the file says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from .device import devices
from .errors import ArgumentError
from .modelfile import ModelFile
from .placement import ExpertsOn, Override, Placement, expert_overrides

SPARE_FRACTION = 1 / 8
SPARE_BYTES = 1 << 30
"""What "auto" leaves free on the GPU for caches and compute, of the model's size and in all."""


def expert_rows(
    file: ModelFile, experts: str | None, n_cpu_moe: int, device_names: Sequence[str]
) -> list[Override]:
    """llama.cpp's overrides for a model file.

    `n_cpu_moe` goes before `experts`, and both before the file's placement. Raises ArgumentError
    for a value outside its range and ModelError for a placement that is not well formed.
    """
    if experts is not None and experts not in get_args(ExpertsOn):
        raise ArgumentError(
            f"experts is {experts!r}; it must be one of {', '.join(get_args(ExpertsOn))}, or None "
            "for what the file says"
        )
    if n_cpu_moe < 0:
        raise ArgumentError(f"n_cpu_moe is {n_cpu_moe}; it must be at least 0")
    if n_cpu_moe:
        return expert_overrides(n_cpu_moe)
    placement = Placement.from_metadata(file.metadata)
    if experts is not None:
        sizes = [(tensor.name, tensor.n_bytes) for tensor in file.tensors]
        placement = Placement.of_experts(experts, sizes)  # type: ignore[arg-type]
    if placement is None:
        return []
    return placement.overrides("gpu" if fits(file.n_bytes, device_names) else "cpu")


def fits(n_bytes: int, device_names: Sequence[str]) -> bool:
    """Whether a model of this size, with room to spare, fits the GPUs that are to be used. Yes
    where there are none: all is in CPU memory then, and needs no row that says so."""
    gpus = [device for device in devices() if device.type in ("gpu", "igpu")]
    used = [gpu for gpu in gpus if not device_names or gpu.name in device_names]
    free = sum(gpu.memory_free for gpu in used)
    return not used or free >= n_bytes * (1 + SPARE_FRACTION) + SPARE_BYTES
