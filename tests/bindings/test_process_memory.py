"""What drivers say of this process, and drivers that say nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pannier import process_memory
from pannier.device import Device
from pannier.process_memory import process_bytes, resident_bytes

CARD = Device("CUDA0", "a card", "CUDA", "gpu", 1000, 700, "0000:01:00.0")


class NVMLError(Exception):
    """As of nvidia-ml-py."""


def nvml(processes: list[tuple[int, int | None]], **broken: bool) -> Any:
    """nvidia-ml-py on a machine with one card."""

    def start() -> None:
        if broken.get("driver"):
            raise NVMLError("Driver Not Loaded")

    def find(address: str) -> str:
        if address != CARD.id:
            raise NVMLError("Not Found")
        return "handle"

    def running(handle: str) -> list[Any]:
        assert handle == "handle"
        return [SimpleNamespace(pid=pid, usedGpuMemory=n_bytes) for pid, n_bytes in processes]

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=start,
        nvmlDeviceGetHandleByPciBusId=find,
        nvmlDeviceGetComputeRunningProcesses=running,
    )


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    process_memory._nvml.cache_clear()
    yield
    process_memory._nvml.cache_clear()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nvml([(os.getpid(), 120), (os.getpid() + 1, 500)]), 120),
        (nvml([(os.getpid() + 1, 500)]), None),  # a container's own numbers
        (nvml([(os.getpid(), None)]), None),
        (nvml([(os.getpid(), 120)], driver=True), None),
        (None, None),  # not installed
    ],
)
def test_an_nvidia_driver(
    module: Any, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert process_bytes(CARD) == expected


def test_a_card_that_nvml_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml([(os.getpid(), 120)]))
    assert process_bytes(Device("CUDA1", "", "CUDA", "gpu", 1, 1, "0000:02:00.0")) is None
    assert process_bytes(Device("CUDA1", "", "CUDA", "gpu", 1, 1)) is None


def test_other_devices() -> None:
    assert process_bytes(Device("V", "", "Vulkan", "gpu", 9, 9, "", 5, 3)) == 5
    assert process_bytes(Device("V", "", "Vulkan", "gpu", 9, 9, "", None, 3)) == 3
    assert process_bytes(Device("M", "", "Metal", "gpu", 9, 9)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_resident_set() -> None:
    status = Path("/proc/self/status").read_text().splitlines()
    said = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
    found = resident_bytes()
    assert found is not None and abs(found - said) < 1 << 24
    assert process_bytes(Device("CPU", "", "CPU", "cpu", 9, 9)) == pytest.approx(found, abs=1 << 24)
