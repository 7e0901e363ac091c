"""How a model is loaded that memory has no room for: mapped, and read when it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from . import _ffi
from .memory import TensorRow
from .modelfile import ModelFile
from .native_rows import tensor_rows
from .paging import Paging, check_mapped, find_paging, is_mapped, room_in
from .system_memory import available_memory

if TYPE_CHECKING:
    from .planner.speed import Bandwidths

BLOCK_BYTES = 512 << 10
"""About one matrix of an expert: what the kernel is asked for at once."""
DISK_S = 0.25
"""For each of two rates."""

logger = logging.getLogger("pannier.engine")


def page(
    file: ModelFile, params: _ffi.model_params, load_mode: str, locked: Collection[str] = ()
) -> Paging | None:
    """Have weights mapped that memory has no room for: not repacked, and their experts read ahead
    of the computation. None where they fit.

    locked: names of tensors that are to be locked in memory.
    Logs a warning with the rate to expect. Raises ModelError where they may not be mapped.
    """
    available = available_memory()
    if available is None or file.n_bytes <= room_in(available):
        return None
    if find_paging(file, _planned(file, params), available) is None:
        return None
    params.no_repack = True
    tensors = _planned(file, params)
    check_mapped(tensors, available, load_mode, locked)
    paging = find_paging(file, tensors, available)
    if paging is None or not is_mapped(tensors):
        return None
    params.read_ahead = True
    paging = replace(paging, seconds=paging.seconds_per_token(_bandwidths(file)))
    logger.warning("%s: %s", file.path.name, paging)
    return paging


def _bandwidths(file: ModelFile) -> Bandwidths:
    """This machine's, and of the disk that has the file what it gives now."""
    from .bench.disk import measure_disk
    from .device import devices
    from .planner.machine import measured
    from .planner.speed import Bandwidths

    disk = measure_disk(file.path, BLOCK_BYTES, DISK_S).blocks
    return replace(measured(devices()) or Bandwidths(), disk=disk)


def _planned(file: ModelFile, params: _ffi.model_params) -> Sequence[TensorRow]:
    """Where tensors would be. Raises ModelError for a file that cannot be loaded."""
    lib, handle = _ffi.library(), _ffi.Handle()
    params.no_alloc = True
    try:
        lib.check(lib.model_load(os.fsencode(file.path), _ffi.byref(params), _ffi.byref(handle)))
    finally:
        params.no_alloc = False
    try:
        return tensor_rows(handle)
    finally:
        lib.model_free(handle)
