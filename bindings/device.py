"""The devices that the loaded engine can compute on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import _ffi
from .system_memory import available_memory

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
    id: str = ""
    """PCI address, where it has one."""
    process_bytes: int | None = None
    """What this process holds there, by the driver; None where the backend cannot ask."""
    allocated_bytes: int | None = None
    """What the backend has asked of the driver, its scratch pools included; None likewise."""


def devices() -> list[Device]:
    """All devices, with their memory as it is now."""
    lib = _ffi.library()
    return [_device(lib, index) for index in range(lib.device_count())]


def layer_devices(names: Sequence[str] = ()) -> list[Device]:
    """Those that llama.cpp puts layers on, in its order: the named ones, else all GPUs, servers
    of others first, else an integrated one."""
    known = [device for device in devices() if device.type in ("gpu", "igpu")]
    if names:
        return [device for name in names for device in known if device.name == name]
    gpus = [device for device in known if device.type == "gpu"]
    remote = [device for device in gpus if device.backend == "RPC"]
    local: dict[str, Device] = {}
    for device in gpus:
        if device.backend != "RPC":
            local.setdefault(device.id or device.name, device)  # one GPU can have two drivers
    return [*remote, *local.values()] or known[:1]


def _device(lib: _ffi.Library, index: int) -> Device:
    raw = _ffi.device()
    lib.check(lib.device_get(index, _ffi.byref(raw)))
    kind = _TYPES[raw.type]
    # ggml says that all of the CPU's memory is free.
    available = available_memory() if kind == "cpu" else None
    return Device(
        name=raw.name.decode(),
        description=raw.description.decode("utf-8", "replace"),
        backend=raw.backend.decode(),
        type=kind,
        memory_total=raw.memory_total,
        memory_free=raw.memory_free if available is None else available,
        id=raw.id.decode(),
        process_bytes=_known(raw.process_bytes),
        allocated_bytes=_known(raw.allocated_bytes),
    )


def _known(n_bytes: int) -> int | None:
    return n_bytes if n_bytes >= 0 else None
