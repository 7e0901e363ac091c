"""`pannier bench machine`: what it measures is what plans and traces reckon with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pannier.bench.machine import CACHES, MEMORY_BYTES, cpu_caches, memory_bytes
from pannier.cli import main
from pannier.device import Device
from pannier.engine import Engine
from tests.bindings.conftest import DATA
from tests.conftest import engine_environment

MIB, GIB = 1 << 20, 1 << 30


def command(engine: Engine, cache: Path, *words: object, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pannier", *map(str, words)],
        env=engine_environment(engine) | {"PANNIER_CACHE": str(cache)} | (env or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.engine
def test_the_cpu_and_a_disk(cpu_engine: Engine, tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"x" * (9 * MIB))
    words = ("bench", "machine", "--seconds", 0, "--disk", model, "--json")
    found = json.loads(command(cpu_engine, tmp_path, *words))
    [cpu], [disk] = found["devices"], found["disks"]
    assert (cpu["type"], cpu["upload"], cpu["sync_s"]) == ("cpu", None, None)
    assert min(cpu["read"], cpu["copy"], disk["sequential"], disk["blocks"]) > 1e6
    plan = command(
        cpu_engine, tmp_path, "plan", DATA / "qwen3moe" / "model-f32.gguf", "--json", "-c", 256
    )
    rates = json.loads(plan)["rates"]
    assert (rates["cpu"], rates["measured"]) == (cpu["read"], ["cpu", "disk"])
    assert json.loads(plan)["rates_assumed"] == []


@pytest.mark.vulkan
def test_a_software_device(vulkan_engine: Engine, tmp_path: Path) -> None:
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    words = ("bench", "machine", "--seconds", 0)
    assert "uploads from pinned memory" in command(vulkan_engine, tmp_path, *words, env=env)
    records = json.loads((tmp_path / "machine.json").read_text())
    device = next(one for one in records if one["name"] == "Vulkan0")
    for rate in ("read", "upload", "upload_pinned", "download", "sync_s"):
        assert device[rate] > 0
    assert device["sync_s"] < 1


def test_weights_are_larger_than_caches_and_smaller_than_memory() -> None:
    def cpu(free: int) -> Device:
        return Device("CPU", "", "CPU", "cpu", 64 * GIB, free)

    assert memory_bytes(cpu(60 * GIB), [MIB, 32 * MIB]) == MEMORY_BYTES
    assert memory_bytes(cpu(60 * GIB), [600 * MIB]) == CACHES * 600 * MIB
    assert memory_bytes(cpu(2 * GIB), [600 * MIB]) == GIB // 2
    assert memory_bytes(cpu(0), []) == MEMORY_BYTES
    assert memory_bytes(Device("GPU", "", "x", "gpu", GIB, 100 * MIB)) == 25 * MIB


def test_caches_as_linux_tells(tmp_path: Path) -> None:
    for i, text in enumerate(("48K", "2M", "junk", "")):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "size").write_text(text)
    assert sorted(cpu_caches(tmp_path)) == [48 << 10, 2 * MIB]
    assert cpu_caches(tmp_path / "no") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seconds", "61"), "it can be 0 to 60"),
        (("--disk", "/no/such"), "no such folder or file"),
    ],
)
def test_refusals(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "machine", *words]) == 1
    assert message in capsys.readouterr().err
