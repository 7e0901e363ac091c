"""A server with a cache of experts: what it tells of it, and when it is of no use to clients."""

from __future__ import annotations

import asyncio
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pannier.convert.byte_vocabulary import N_FIXED, ByteVocabulary, made_up_words
from pannier.convert.random_gguf import Qwen3NextSpec, write_random
from pannier.engine import Engine

from .test_clients import TINY, Server, request, serving, streamed_tokens
from .test_metrics import values
from .test_strict import server

VOCABULARY = ByteVocabulary(tuple(made_up_words(320 - N_FIXED)))
CACHED = ("--experts", "cpu", "-lm", "none", "-fa", "off", "--moe-cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts of 192 KiB, 16 in each of four layers: five fit 1 MiB, and two use four."""
    spec = Qwen3NextSpec(
        name="test", n_embd=128, n_layer=4, n_head=2, n_head_kv=1, head_dim=64, ssm_head_dim=16,
        ssm_k_heads=1, ssm_v_heads=2, n_expert=16, n_expert_used=2, n_ff_exp=128,
        vocabulary=VOCABULARY, type="F32",
    )  # fmt: skip
    return write_random(tmp_path_factory.mktemp("experts") / "model.gguf", spec)


@pytest.mark.vulkan
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("1M", "-np", 2), ""),
        (("1M", "-np", 3), "has 4 slots for 4 of 4 layers, and 3 tokens of one step may use 6 "),
        (("2M", "-np", 33), "for steps of at most 32 tokens, and 33 clients decode 33 at once"),
    ],
)
def test_more_clients_than_it_is_for(
    vulkan_engine: Engine, model: Path, flags: tuple[object, ...], says: str
) -> None:
    with server(vulkan_engine, model, *CACHED, *flags) as (process, said):
        assert process.poll() is None
    assert ("the cache of experts" in said) == bool(says)
    assert says in said
    if says:
        with server(vulkan_engine, model, *CACHED, *flags, "--strict") as (process, said):
            assert process.wait(60) == 1
        assert says in said


@pytest.mark.vulkan
def test_nothing_to_cache(vulkan_engine: Engine, model: Path) -> None:
    flags = ("--experts", "gpu", "-fa", "off", "--moe-cache", "1M")
    with server(vulkan_engine, model, *flags) as (process, said):
        assert process.poll() is None
    assert "the cache of experts has nothing to cache" in said


@pytest.mark.engine
def test_without_a_gpu_it_is_refused(cpu_engine: Engine, model: Path) -> None:
    with server(cpu_engine, model, "--moe-cache", "1M") as (process, said):
        assert process.wait(60) == 1
    assert "a cache of experts needs a GPU" in said
    assert "100 of 100" not in said  # before any weight is read


# ---------------------------------------------------------------- at work

N_CLIENTS, SLOT, N_EXPERTS = 4, 3 * 32 * 32 * 4, 32
"""Bytes of an expert, and experts of all layers, of the tiny model."""


# Mesa's software driver can crash on larger ubatches of a mixture of experts, cache or not.
@pytest.fixture(scope="module")
def caching(vulkan_engine: Engine) -> Iterator[Server]:
    flags = ("-c", "4096", "-np", str(N_CLIENTS), "-t", "1", "-ub", "32", "--metrics")
    env = {"GGML_VK_VISIBLE_DEVICES": "0", "GGML_VK_DISABLE_F16": "1"}
    with serving(vulkan_engine, *flags, *CACHED, "1M", "--strict", model=TINY, env=env) as server:
        yield server


def bodies(n: int) -> list[dict[str, Any]]:
    rng = random.Random(4)
    lengths = [rng.randrange(5, 90) for _ in range(n)]
    return [request([rng.randrange(10, 300) for _ in range(length)], 24) for length in lengths]


@pytest.mark.vulkan
def test_several_clients(caching: Server) -> None:
    """They get what each gets alone, and all figures are of the same counters."""

    async def alone() -> list[list[int]]:
        return [await streamed_tokens(caching.port, body) for body in bodies(N_CLIENTS)]

    async def together() -> list[list[int]]:
        tokens = (streamed_tokens(caching.port, body) for body in bodies(N_CLIENTS))
        return await asyncio.gather(*tokens)

    one_by_one = asyncio.run(alone())
    before = caching.get("/memory")["experts"]
    assert asyncio.run(together()) == one_by_one
    after = caching.get("/memory")["experts"]
    assert after["n_hits"] > before["n_hits"] > 0
    assert after["n_misses"] == before["n_misses"]  # all experts were there by then
    assert 4 < after["n_misses"] <= after["n_slots"] == N_EXPERTS
    assert after["uploaded_bytes"] == after["n_misses"] * SLOT
    assert after["wait_s"] > before["wait_s"] > 0


@pytest.mark.vulkan
def test_the_figures_add_up(caching: Server) -> None:
    asyncio.run(streamed_tokens(caching.port, bodies(1)[0]))
    report = caching.get("/memory")
    experts = report["experts"]
    layers = experts.pop("layers")
    assert [layer["layer"] for layer in layers] == [0, 1, 2, 3]
    assert {(layer["device"], layer["group"], layer["n_slots"]) for layer in layers} == {
        ("Vulkan0", 0, N_EXPERTS)
    }
    assert {layer["expert_bytes"] for layer in layers} == {SLOT}
    for name, value in experts.items():
        if name != "n_slots":
            assert value == pytest.approx(sum(layer[name] for layer in layers), abs=1e-5)
    url = f"http://127.0.0.1:{caching.port}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        metrics = values(answer.read().decode())
    assert metrics['pannier_expert_cache_slots{device="Vulkan0",group="0"}'] == N_EXPERTS
    for name, key in (("hits", "n_hits"), ("misses", "n_misses"), ("wait_seconds", "wait_s")):
        by_layer = [
            metrics[f'pannier_expert_cache_{name}_total{{device="Vulkan0",layer="{i}"}}']
            for i in range(4)
        ]
        assert by_layer == [layer[key] for layer in layers]
    cached = [device["moe_cache_bytes"] for device in report["devices"]]
    assert max(cached) >= (N_EXPERTS + 1) * SLOT


@pytest.mark.engine
def test_without_one_there_are_no_figures(cpu_engine: Engine) -> None:
    with serving(cpu_engine, "-c", "512", "-t", "1", "--metrics") as server:
        assert server.get("/memory")["experts"] is None
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert "expert_cache" not in answer.read().decode()
