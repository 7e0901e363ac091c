"""What was measured, kept and read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pannier.device import Device
from pannier.planner import machine
from pannier.planner.machine import DeviceRates, DiskRates, Machine, identity, measured, record
from pannier.planner.speed import GB, Bandwidths

CPU = DeviceRates("CPU", "a processor", "cpu", read=40e9, copy=20e9)
CARD = DeviceRates("CUDA0", "a card", "gpu", 300e9, None, 8e9, 24e9, 9e9, 1e-5)
SLOWER = replace(CARD, name="CUDA1", read=200e9, upload_pinned=12e9, sync_s=3e-5)
DISK = DiskRates("/models", 2e9, 1.5e9, 2_000_000, 8)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PANNIER_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "processor", lambda: "a processor")
    return tmp_path / "machine.json"


def test_nothing_is_known_at_first(path: Path) -> None:
    assert measured() is None
    record({}, {"8": DISK})
    assert measured() is None, "a disk alone is no machine"


def test_what_was_measured_takes_the_place_of_what_is_assumed(path: Path) -> None:
    record({"a": CPU, "b": CARD}, {"8": DISK})
    known = {"cpu", "gpu", "link", "link_mapped", "disk", "sync_s"}
    assert measured() == Bandwidths(
        gpu=300e9, cpu=40e9, link=24e9, link_mapped=8e9, disk=1.5e9, sync_s=1e-5,
        measured=frozenset(known),
    )  # fmt: skip
    record({"b": replace(CARD, read=350e9)}, {})
    assert len(json.loads(path.read_text())) == 3
    again = measured()
    assert again is not None
    assert (again.gpu, again.cpu, again.disk) == (350e9, 40e9, 1.5e9)


def test_of_several_devices_the_slowest() -> None:
    found = Machine((CPU, CARD, SLOWER)).bandwidths()
    assert (found.gpu, found.link, found.link_mapped, found.sync_s) == (200e9, 12e9, 8e9, 3e-5)
    bare = replace(CARD, upload_pinned=None)
    assert Machine((CPU, bare)).bandwidths().link == 8e9, "it has no pinned memory"
    only_cpu = Machine((CPU,)).bandwidths()
    assert (only_cpu.gpu, only_cpu.measured) == (400 * GB, frozenset({"cpu"}))


def test_only_these_devices_and_this_processor(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = Device("CPU", "a processor", "CPU", "cpu", 1 << 34, 1 << 33)
    card = Device("CUDA0", "a card", "CUDA", "gpu", 1 << 34, 1 << 33)
    record({identity(cpu): CPU, identity(card): CARD, "another": SLOWER}, {})
    found = measured([cpu, replace(card, memory_free=1)])
    assert found is not None
    assert (found.gpu, found.cpu) == (300e9, 40e9)
    other = measured([cpu])
    assert other is not None
    assert other.measured == {"cpu"}
    monkeypatch.setattr(machine, "processor", lambda: "another")
    assert measured() is None


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"kind": "device"}]'])
def test_a_record_that_is_damaged_is_none(path: Path, content: str) -> None:
    path.write_text(content)
    assert measured() is None
    record({"a": CPU}, {})
    found = measured()
    assert found is not None
    assert found.cpu == 40e9
    assert [file.name for file in path.parent.iterdir()] == ["machine.json"]
