"""A server whose ops would not run where they were placed: refused, or warned of."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from pannier.engine import Engine
from pannier.server.loading import check_adapters

from ..conftest import engine_environment
from ..edited_gguf import Lora

DATA = Path(__file__).parents[1] / "data"
MAMBA = DATA / "mamba2" / "model-f32.gguf"
MOE = DATA / "qwen3moe" / "model-f32.gguf"
LLAMA = DATA / "llama" / "model-f32.gguf"
SMALL = ("--port", "0", "-c", "1024", "-np", "2", "-t", "1", "-ub", "64", "--no-warmup")
SCAN = "SSM_SCAN of layers 0-2 would run on CPU instead of Vulkan0"


@contextmanager
def server(
    engine: Engine, *arguments: object, cache: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`pannier serve` on a device, until it serves or ends, and what it said so far."""
    where = {"PANNIER_CACHE": str(cache)} if cache else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "pannier", "serve", *map(str, (*SMALL, *arguments))],
        env=engine_environment(engine) | {"GGML_VK_VISIBLE_DEVICES": "0"} | where,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = Timer(120, process.kill)
    killer.start()
    assert process.stderr is not None
    try:
        said = line = process.stderr.readline()
        while line and " serves " not in line:
            line = process.stderr.readline()
            said += line
        yield process, said
    finally:
        process.terminate()
        process.communicate(timeout=60)
        killer.cancel()


@pytest.mark.vulkan
def test_strict(vulkan_engine: Engine) -> None:
    with server(vulkan_engine, MAMBA, "--strict") as (process, said):
        assert process.wait(60) == 1
    assert SCAN in said
    assert "-ot 'blk" in said
    assert " serves " not in said
    with server(vulkan_engine, MAMBA, "--strict", "-ot", r"ssm_a=CPU") as (process, said):
        assert " serves " in said
        assert "SSM_SCAN" not in said


@pytest.mark.vulkan
def test_not_strict_is_a_warning(vulkan_engine: Engine) -> None:
    with server(vulkan_engine, MAMBA, "-ot", "norm=CPU,attn_norm=CPU") as (process, said):
        assert process.poll() is None
    lines = [line for line in said.splitlines() if " would run " in line or "no effect" in line]
    assert len(lines) == 2
    assert SCAN in lines[0]
    assert "attn_norm=CPU has no effect" in lines[1]


@pytest.mark.vulkan
@pytest.mark.parametrize("flags", [(), ("--no-strict",)])
def test_a_plan_is_strict(vulkan_engine: Engine, flags: tuple[str, ...]) -> None:
    with server(vulkan_engine, MAMBA, "--vram", "64M", *flags) as (process, said):
        if flags:
            assert " serves " in said
        else:
            assert process.wait(60) == 1
    assert SCAN in said


def test_each_adapter_is_looked_at_and_none_stays() -> None:
    asked: list[dict[int, float]] = []
    context: Any = SimpleNamespace(set_adapters=asked.append)
    adapters: Any = [SimpleNamespace(id=id) for id in (0, 1)]
    check_adapters(context, adapters)
    assert asked == [{0: 1.0}, {1: 1.0}, {}]


@pytest.mark.engine
def test_adapters_of_a_strict_server(cpu_engine: Engine, tmp_path: Path) -> None:
    adapter = Lora(LLAMA, "attn_q.").write(tmp_path / "lora.gguf")
    with server(cpu_engine, LLAMA, "--strict", "--lora", adapter) as (_, said):
        assert " serves " in said


@pytest.mark.engine
def test_a_strict_server_that_embeds(cpu_engine: Engine) -> None:
    with server(cpu_engine, LLAMA, "--strict", "--embeddings") as (_, said):
        assert " serves " in said


@pytest.mark.vulkan
def test_what_weights_in_system_memory_lie_in(vulkan_engine: Engine) -> None:
    """A tied model's embeddings have the name of its output matrix, which is on the device."""
    tied = (LLAMA, "--host-memory", "embedding=copy")
    with server(vulkan_engine, *tied, "--strict") as (process, said):
        assert process.wait(60) == 1
    assert "MiB of weights are not copied: a device has a copy under the same name" in said
    with server(vulkan_engine, *tied) as (process, said):
        assert process.poll() is None
    assert "are not copied" in said
    moe = (MOE, "--host-memory", "experts=pinned", "--pin-budget", "200K", "--cpu-moe", "--strict")
    with server(vulkan_engine, *moe) as (process, said):
        assert process.poll() is None
        url = re.search(r"(http://[^ ]+) serves", said)
        assert url is not None
        memory = httpx.get(f"{url[1]}/memory").json()["host_memory"]
    assert "weights in system memory: experts 0.1 MiB mapped, 0.2 MiB pinned" in said
    assert (memory["experts"]["mapped_bytes"], memory["experts"]["pinned_bytes"]) == (
        *(3 * 32768, 6 * 32768),
    )
