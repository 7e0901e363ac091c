"""Rates of this machine's devices, each measured in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..device import Device
from ..errors import ArgumentError, PannierError
from ..planner.child import in_child
from ..planner.machine import DeviceRates

EXPERT_BYTES = 2 << 20
"""About an expert of Qwen3-Coder-Next in Q4_K_M."""
N_MATRICES = 3
"""Of an expert: each is read and uploaded by itself."""
MEMORY_BYTES = 1 << 30
MOST_BYTES = 4 << 30
LINK_BYTES = 256 << 20
PART = 4
"""Of what is free, at most one part in so many is taken."""
CACHES = 4
"""Weights are so many times as large as the CPU's caches."""


@dataclass(frozen=True)
class Task:
    """What a process measures."""

    engine: str
    device: int
    expert_bytes: int
    type: str
    n_threads: int
    seconds: float


def measure_devices(
    engine: Path,
    expert_bytes: int,
    type: str,
    n_threads: int,
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, DeviceRates]:
    """Rates of the CPU and of all GPUs by their keys. A device that fails is left out, and said."""
    found = {}
    for index, name in in_child(_names, str(engine)):
        say(f"measuring {name}")
        task = Task(str(engine), index, expert_bytes, type, n_threads, seconds)
        try:
            key, rates = in_child(measure_device, task)
        except PannierError as error:
            say(f"{name} is left out: {error}")
        else:
            found[key] = rates
    return found


def measure_device(task: Task) -> tuple[str, DeviceRates]:
    """All rates of one device, and its key. Raises what the engine raises."""
    from ..planner.machine import identity

    device = _devices(task.engine)[task.device]
    measure = _Measure(task, device)
    is_cpu = device.type == "cpu"
    return identity(device), DeviceRates(
        name=device.name,
        description=device.description,
        type=device.type,
        read=measure("read", memory_bytes(device)),
        copy=measure("copy", memory_bytes(device)) if is_cpu else None,
        **{} if is_cpu else link_rates(measure, device),
    )


def link_rates(measure: Callable[[Any, int], float], device: Device) -> dict[str, float | None]:
    """What goes between a device and the system's memory."""
    n_bytes = _bounded(LINK_BYTES, device)
    pinned = None
    with suppress(ArgumentError):  # not every device has such memory
        pinned = measure("upload_pinned", n_bytes)
    return {
        "upload": measure("upload", n_bytes),
        "upload_pinned": pinned,
        "download": measure("download", n_bytes),
        "sync_s": measure("sync", n_bytes),
    }


def memory_bytes(device: Device, caches: Iterable[int] | None = None) -> int:
    """How much weight is read: more than caches hold, less than is free."""
    wanted = MEMORY_BYTES
    if device.type == "cpu":
        largest = max(cpu_caches() if caches is None else caches, default=0)
        wanted = max(wanted, min(MOST_BYTES, CACHES * largest))
    return _bounded(wanted, device)


def cpu_caches(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> list[int]:
    """Bytes of one processor's caches, as far as Linux tells."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes = []
    for path in folder.glob("index*/size"):
        with suppress(OSError, ValueError, KeyError):
            text = path.read_text().strip()
            sizes.append(int(text[:-1]) * units[text[-1]])
    return sizes


class _Measure:
    """Measures one device."""

    def __init__(self, task: Task, device: Device) -> None:
        self._task = task
        self._device = device

    def __call__(self, rate: Any, n_bytes: int) -> float:
        from ..rates import measure_rate

        task = self._task
        return measure_rate(
            task.device,
            rate,
            n_bytes=n_bytes,
            block_bytes=min(n_bytes, task.expert_bytes // N_MATRICES),
            type=task.type,
            n_threads=task.n_threads,
            seconds=task.seconds,
        )


def _bounded(wanted: int, device: Device) -> int:
    return min(wanted, max(4 << 20, device.memory_free // PART)) if device.memory_free else wanted


def _names(engine: str) -> list[tuple[int, str]]:
    """Index and name of each device that has memory of its own to read, or the CPU."""
    return [
        (i, f"{device.name} ({device.description})")
        for i, device in enumerate(_devices(engine))
        if device.type in ("cpu", "gpu", "igpu")
    ]


def _devices(engine: str) -> Sequence[Device]:
    from .. import _ffi
    from ..device import devices
    from ..engine.store import open_engine

    _ffi.load(open_engine(Path(engine)).library)
    return devices()
