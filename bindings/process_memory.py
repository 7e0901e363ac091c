"""What this process holds on a device, by the driver's word."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from .device import Device


def process_bytes(device: Device) -> int | None:
    """Bytes of this process on a device; None where nobody says.

    Of system memory that is the resident set. An NVIDIA driver is asked through NVML, which cannot
    tell in a container that hides the host's processes. A Vulkan driver says it through
    VK_EXT_memory_budget; one that does not, as software drivers, is taken by what ggml has asked
    of it.
    """
    if device.type == "cpu":
        return resident_bytes()
    if device.backend == "CUDA":
        return nvml_bytes(device.id)
    return device.allocated_bytes if device.process_bytes is None else device.process_bytes


def resident_bytes() -> int | None:
    """Bytes of this process that are in system memory; None where /proc does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def nvml_bytes(pci_address: str) -> int | None:
    """Bytes of this process on an NVIDIA device; None without NVML, or where it does not say."""
    nvml = _nvml()
    if nvml is None or not pci_address:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByPciBusId(pci_address)
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return None
    own = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    return None if not own or None in own else int(sum(own))


@cache
def _nvml() -> Any | None:
    """The module of nvidia-ml-py, ready for use."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
