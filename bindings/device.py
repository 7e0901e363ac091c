"""The devices that the loaded engine can compute on."""

from __future__ import annotations

from dataclasses import dataclass

from . import _ffi

_TYPES = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}


@dataclass(frozen=True)
class Device:
    """One device, as ggml reports it. Memory is in bytes; 0 where a device does not say."""

    name: str
    """As `--device` takes it, e.g. "Vulkan0"."""
    description: str
    backend: str
    type: str
    """"cpu", "gpu", "igpu" or "accel"."""
    memory_total: int
    memory_free: int


def devices() -> list[Device]:
    """All devices, with their memory as it is now."""
    lib = _ffi.library()
    return [_device(lib, index) for index in range(lib.device_count())]


def _device(lib: _ffi.Library, index: int) -> Device:
    raw = _ffi.device()
    lib.check(lib.device_get(index, _ffi.byref(raw)))
    return Device(
        name=raw.name.decode(),
        description=raw.description.decode("utf-8", "replace"),
        backend=raw.backend.decode(),
        type=_TYPES[raw.type],
        memory_total=raw.memory_total,
        memory_free=raw.memory_free,
    )
