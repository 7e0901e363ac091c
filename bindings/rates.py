"""Rates of this machine's memories and links, measured by the engine."""

from __future__ import annotations

from typing import Literal, get_args

from . import _ffi
from .cores import physical_cores

Rate = Literal["read", "copy", "upload", "upload_pinned", "download", "sync"]
RATES: tuple[Rate, ...] = get_args(Rate)
"""In the order of pannier.h. Bytes per second; `sync` in seconds."""


def measure_rate(
    device: int,
    rate: Rate,
    *,
    n_bytes: int,
    block_bytes: int,
    type: str = "Q4_K",
    n_threads: int = 0,
    seconds: float = 1.0,
) -> float:
    """One rate of one device, the median of several runs.

    Args:
        device: index in `devices()`.
        rate: "read": weights of experts by products with one vector, as decoding reads them;
            "copy": memory to memory, by the CPU; "upload", "upload_pinned" and "download":
            between the device and ordinary or pinned memory; "sync": a small computation until
            its result is in memory.
        n_bytes: read or moved in a run; more than caches hold.
        block_bytes: of an expert's matrix, which is read or moved at once.
        type: of the weights.
        n_threads: of the CPU; 0 is one per core.
        seconds: how long to go on.

    Raises ArgumentError for what a device does not have, ContextError where memory is short.
    """
    params = _ffi.rate_params(
        device=device,
        rate=RATES.index(rate),
        type=type.encode(),
        n_bytes=n_bytes,
        block_bytes=block_bytes,
        n_threads=n_threads or physical_cores(),
        seconds=seconds,
    )
    out = _ffi.double()
    lib = _ffi.library()
    lib.check(lib.measure_rate(_ffi.byref(params), _ffi.byref(out)))
    return out.value
