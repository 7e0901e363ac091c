"""What this machine has: devices in the engine's order, their free memory, their drivers' share."""

from __future__ import annotations

from collections.abc import Sequence

from ..device import Device, devices, layer_devices
from ..errors import ArgumentError
from ..server.config import EngineConfig
from ..system_memory import available_memory
from .budget import HOST, Budget
from .headroom import headroom_bytes

SPARE = 8
"""One part in so many of the system's available memory stays free."""
STEP = 1 << 28
"""Free memory counts in steps of so many bytes, so that the next start plans the same."""


def used_devices(config: EngineConfig) -> list[Device]:
    """Those that llama.cpp would put layers on: the named ones, else all GPUs, else an
    integrated one. Raises ArgumentError for a name that the engine does not know."""
    known = {device.name: device for device in devices() if device.type in ("gpu", "igpu")}
    if config.devices == ("none",):
        return []
    for name in config.devices:
        if name not in known:
            raise ArgumentError(
                f"no device {name!r} to plan for: this engine has {', '.join(known) or 'none'}"
            )
    return layer_devices(config.devices)


def budgets_of(config: EngineConfig, vram: Sequence[int]) -> tuple[Budget, ...]:
    """Budgets for a plan: `vram` bytes of the first devices, or what is free on all of them.

    Raises ArgumentError for more sizes than devices.
    """
    used = used_devices(config)
    if len(vram) > len(used):
        raise ArgumentError(
            f"--vram names {len(vram)} devices; there are {len(used)} in this engine to put "
            "layers on: see --device, and --backend for another engine"
        )
    limits = vram or [device.memory_free // STEP * STEP for device in used]
    rows = [
        Budget(device.name, limit, headroom_bytes(device), device.type)
        for device, limit in zip(used, limits, strict=False)
    ]
    if (host := available_memory()) is not None:
        rows.append(Budget(HOST, host - host // SPARE, type="cpu"))
    return tuple(rows)
