"""What `pannier bench machine` measured on this machine, for the model of `speed.py`.

A record is a device's, by its name and driver, or a disk's; another processor's records (a cache
folder that several machines share) are not this machine's.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..device import Device
from ..engine.cache import cache_directory
from ..part import whole
from .headroom import driver_version
from .speed import Bandwidths


@dataclass(frozen=True)
class DeviceRates:
    """One device's rates in bytes/s; None: not measured, or not there."""

    name: str
    description: str
    type: str
    """"cpu", "gpu" or "igpu"."""
    read: float
    """Weights of experts, by products with one vector."""
    copy: float | None = None
    """Memory to memory; of the CPU."""
    upload: float | None = None
    """From ordinary memory to the device."""
    upload_pinned: float | None = None
    download: float | None = None
    sync_s: float | None = None
    """Seconds from the start of a small computation until its result is in memory."""


@dataclass(frozen=True)
class DiskRates:
    """One disk's rates in bytes/s, past the page cache."""

    folder: str
    sequential: float
    blocks: float
    """Blocks of an expert's size, by several readers."""
    block_bytes: int
    n_readers: int


@dataclass(frozen=True)
class Machine:
    """All that was measured."""

    devices: tuple[DeviceRates, ...] = ()
    disks: tuple[DiskRates, ...] = ()

    def bandwidths(self) -> Bandwidths:
        """For the planner: of several devices of one type the slowest; what is not measured is
        as assumed."""
        found = {
            type: _least(one.read for one in self.devices if one.type == type)
            for type in ("gpu", "igpu", "cpu")
        }
        gpus = [one for one in self.devices if one.type != "cpu"]
        found["link_mapped"] = _least(one.upload for one in gpus)
        found["link"] = _least(one.upload_pinned or one.upload for one in gpus)
        found["sync_s"] = max((one.sync_s for one in gpus if one.sync_s), default=None)
        found["disk"] = _least(one.blocks for one in self.disks)
        known = {name: value for name, value in found.items() if value is not None}
        return replace(Bandwidths(), **known, measured=frozenset(known))


def measured(devices: Sequence[Device] | None = None) -> Bandwidths | None:
    """Bandwidths of this machine: of these devices, or of all that were ever measured here. None
    if nothing was."""
    machine = recorded(devices)
    return machine.bandwidths() if machine.devices else None


def recorded(devices: Sequence[Device] | None = None) -> Machine:
    """What is known of this machine."""
    records = [one for one in _read() if one.get("processor") == processor()]
    wanted = None if devices is None else set(map(identity, devices))
    rates = [
        _made(DeviceRates, one)
        for one in records
        if one.get("kind") == "device" and (wanted is None or one.get("key") in wanted)
    ]
    disks = [_made(DiskRates, one) for one in records if one.get("kind") == "disk"]
    return Machine(
        tuple(one for one in rates if one is not None),
        tuple(one for one in disks if one is not None),
    )


def record(devices: dict[str, DeviceRates], disks: dict[str, DiskRates]) -> None:
    """Keep what was measured, by key, in the place of what was known of the same."""
    head = {"processor": processor()}
    new = [{"kind": "device", "key": key, **head, **asdict(one)} for key, one in devices.items()]
    new += [{"kind": "disk", "key": key, **head, **asdict(one)} for key, one in disks.items()]
    names = {(one["kind"], one["key"]) for one in new}
    _write([one for one in _read() if (one.get("kind"), one.get("key")) not in names] + new)


def identity(device: Device) -> str:
    """Tells devices and drivers apart, not engines."""
    words = (device.backend, device.description, device.memory_total, driver_version())
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


def disk_identity(folder: Path) -> str:
    """Tells file systems apart."""
    return str(folder.stat().st_dev)


def processor() -> str:
    """Its name as Linux tells it, or Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


R = TypeVar("R", DeviceRates, DiskRates)


def _made(kind: type[R], found: dict[str, Any]) -> R | None:
    """A record that is damaged is none."""
    names = {field.name for field in fields(kind)}
    try:
        return kind(**{name: value for name, value in found.items() if name in names})
    except TypeError:
        return None


def _least(rates: Iterable[float | None]) -> float | None:
    return min((rate for rate in rates if rate), default=None)


def _path() -> Path:
    return cache_directory() / "machine.json"


def _read() -> list[dict[str, Any]]:
    try:
        known = json.loads(_path().read_text())
    except (OSError, ValueError):
        return []
    return [one for one in known if isinstance(one, dict)] if isinstance(known, list) else []


def _write(known: list[dict[str, Any]]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(json.dumps(known, indent=1))
