"""`pannier doctor`, on real engines."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pannier.engine import Engine

from ..conftest import engine_environment
from .conftest import DATA

LLAMA = DATA / "llama" / "model-f32.gguf"
MOE = DATA / "qwen3moe" / "model-f32.gguf"
MAMBA = DATA / "mamba2" / "model-f32.gguf"


def doctor(engine: Engine, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pannier", "doctor", *map(str, arguments)],
        env=engine_environment(engine) | {"GGML_VK_VISIBLE_DEVICES": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.vulkan
def test_a_model_in_its_place(vulkan_engine: Engine) -> None:
    result = doctor(vulkan_engine, LLAMA, "-c", 1024, "-np", 2, "--port", 1, "--api-key", "k")
    assert result.returncode == 0, result.stderr
    first, *_, last = result.stdout.splitlines()
    assert first == "a token of each of 2 clients: 2 splits, 9 copies"
    assert "4 FLASH_ATTN_EXT" in result.stdout
    assert last == "Every op is where it was placed."


@pytest.mark.vulkan
def test_a_model_that_is_not(vulkan_engine: Engine) -> None:
    result = doctor(vulkan_engine, MAMBA, "-c", 1024)
    assert result.returncode == 1
    assert "misplaced: SSM_SCAN of layers 0-2 would run on CPU instead of Vulkan0" in result.stdout
    assert "    what to do: say that it belongs there, -ot " in result.stdout
    answer = doctor(vulkan_engine, MAMBA, "-c", 1024, "--json")
    report = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert [problem["what"].split()[0] for problem in report["problems"]] == ["SSM_SCAN"]
    assert [graph["name"] for graph in report["graphs"]] == ["decode", "prompt", "prompts"]
    assert report["graphs"][0]["n_seqs"] == 4
    assert sum(copies["n"] for copies in report["graphs"][0]["copies"]) > 9


@pytest.mark.vulkan
def test_what_is_slower_than_one_may_think(vulkan_engine: Engine) -> None:
    cached = (MOE, "-c", 1024, "--cpu-moe", "--moe-cache-mib", 1)
    assert "note" not in doctor(vulkan_engine, *cached).stdout
    many = doctor(vulkan_engine, *cached, "-np", 40, "--no-op-offload")
    assert many.returncode == 0, many.stderr
    assert "note: 9 products with experts run on the CPU when 40 clients decode" in many.stdout
    inward = doctor(vulkan_engine, LLAMA, "-c", 1024, "--no-kv-offload")
    assert "note: 1 MiB of KV cache and states go from device to device" in inward.stdout
    adapters = doctor(vulkan_engine, LLAMA, "-c", 1024, "--lora", "x.gguf")
    assert "note: adapters are not looked at" in adapters.stdout


@pytest.mark.vulkan
def test_of_a_plan(vulkan_engine: Engine) -> None:
    result = doctor(vulkan_engine, MOE, "--vram", "64M", "-np", 2, "-c", 1024, "--json")
    assert result.returncode == 0, result.stderr
    assert "planned" in result.stderr
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert report["graphs"][0]["ops"]["Vulkan0"]["MUL_MAT_ID"] == 9


@pytest.mark.engine
def test_a_server_that_embeds(cpu_engine: Engine) -> None:
    result = doctor(cpu_engine, LLAMA, "-c", 1024, "--embeddings", "--json")
    assert result.returncode == 0, result.stderr
    assert [graph["name"] for graph in json.loads(result.stdout)["graphs"]] == ["prompts"]


@pytest.mark.engine
def test_a_context_that_cannot_be(cpu_engine: Engine) -> None:
    result = doctor(cpu_engine, LLAMA, "-ctv", "q8_0", "-fa", "off")
    assert result.returncode == 1
    assert "quantized V cache" in result.stderr
    assert result.stderr.count("\n") == 1
