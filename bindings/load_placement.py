"""Where a model's tensors go when it is loaded: what the caller says, else what the file says."""

from __future__ import annotations

from collections.abc import Sequence

from .device import devices
from .errors import ArgumentError
from .expert_words import PLACES, expert_layers, parse_experts
from .layer_ranges import MAX_LAYERS
from .modelfile import ModelFile
from .override_rows import FILE, OverrideRow
from .placement import EXPERTS, Placement, experts_of

SPARE_FRACTION = 1 / 8
SPARE_BYTES = 1 << 30
"""What "auto" leaves free on the GPU for caches and compute, of the model's size and in all."""
BUFFERS = {"cpu": "CPU", "gpu": None}


def expert_rows(
    file: ModelFile, experts: str | None, n_cpu_moe: int, device_names: Sequence[str]
) -> list[OverrideRow]:
    """Rows for a model file's routed experts.

    Those of `n_cpu_moe` go before those of `experts`; with either, the file's placement does not
    count. Raises ArgumentError for a value outside its range and ModelError for a placement that
    is not well formed.
    """
    if n_cpu_moe < 0:
        raise ArgumentError(f"n_cpu_moe is {n_cpu_moe}; it must be at least 0")
    rows = [] if experts is None else _asked_rows(file, experts, device_names)
    if n_cpu_moe:
        pattern = experts_of(range(min(n_cpu_moe, MAX_LAYERS)))
        return [OverrideRow(pattern, "CPU", f"--n-cpu-moe {n_cpu_moe}"), *rows]
    return rows if experts is not None else _file_rows(file, device_names)


def _asked_rows(file: ModelFile, experts: str, device_names: Sequence[str]) -> list[OverrideRow]:
    words, source = parse_experts(experts), f"--experts {experts}"
    if words.rows:
        devices = words.by_layer(expert_layers((one.name for one in file.tensors), EXPERTS))
        return [
            OverrideRow(experts_of(devices[place]), BUFFERS[place], source)
            for place in PLACES
            if devices[place]
        ]
    if words.rest == "auto":
        return [] if fits(file.n_bytes, device_names) else [OverrideRow(EXPERTS, "CPU", source)]
    assert words.rest is not None
    return [OverrideRow(EXPERTS, BUFFERS[words.rest], source)]


def _file_rows(file: ModelFile, device_names: Sequence[str]) -> list[OverrideRow]:
    placement = Placement.from_metadata(file.metadata)
    if placement is None:
        return []
    rows = placement.overrides("gpu" if fits(file.n_bytes, device_names) else "cpu")
    return [OverrideRow(*row, FILE) for row in rows]


def fits(n_bytes: int, device_names: Sequence[str]) -> bool:
    """Whether a model of this size, with room to spare, fits the GPUs that are to be used. Yes
    where there are none: all is in CPU memory then, and needs no row that says so."""
    gpus = [device for device in devices() if device.type in ("gpu", "igpu")]
    used = [gpu for gpu in gpus if not device_names or gpu.name in device_names]
    free = sum(gpu.memory_free for gpu in used)
    return not used or free >= n_bytes * (1 + SPARE_FRACTION) + SPARE_BYTES
