"""`pannier plan` and `pannier serve --vram`, on real engines."""

import json
import subprocess
import sys

import pytest

from pannier.convert.random_gguf import write_header
from pannier.synth.models import spec_of
from tests.bindings.conftest import DATA
from tests.conftest import engine_environment

VULKAN = {"GGML_VK_VISIBLE_DEVICES": "0"}


def pannier(engine, *arguments, cache=None, env=None):
    """Run the command; stdout, stderr and status."""
    environment = engine_environment(engine) | (env or {})
    if cache:
        environment["PANNIER_CACHE"] = str(cache)
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pannier", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def plan(engine, *arguments, **options):
    result = pannier(engine, "plan", *arguments, "--json", **options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


ALLOCATED = """
import argparse, json, sys
from dataclasses import asdict, replace
from pannier.server.cli import configure
from pannier.server.flags.parser import read_given
from pannier.server.flags.settings import engine_config
from pannier.server.flags.table import GROUPS
from pannier.server.loading import load_model, make_context

parser = argparse.ArgumentParser()
configure(parser)
args = parser.parse_args(sys.argv[1:])
config = replace(engine_config(read_given(args, GROUPS), args.model, ""), warmup=False)
with load_model(config) as model, make_context(model, config) as context:
    print(json.dumps([asdict(row) for row in context.memory().rows]))
"""


def allocated(engine, arguments, env=None):
    """What a server with these arguments holds at its start."""
    result = subprocess.run(
        [sys.executable, "-c", ALLOCATED, *arguments],
        env=engine_environment(engine) | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.engine
@pytest.mark.parametrize("family", ["qwen3next", "gemma3", "mamba2"])
@pytest.mark.parametrize("prefer", ["speed", "clients"])
def test_a_plan_s_arguments_take_what_it_says(cpu_engine, family, prefer):
    model = DATA / family / "model-f32.gguf"
    answer = plan(cpu_engine, model, "--prefer", prefer, "-ub", 64)
    assert allocated(cpu_engine, answer["arguments"]) == answer["rows"]
    client = answer["per_client"]
    assert client["total_bytes"] >= client["state_bytes"] + client["rollback_bytes"]


@pytest.mark.engine
def test_rollback_is_part_of_a_client(cpu_engine):
    model = DATA / "qwen35moe-rollback.gguf"
    plain = plan(cpu_engine, model)["per_client"]
    guessing = plan(
        cpu_engine, model, "--spec-type", "ngram-simple", "--spec-ngram-simple-size-m", 3
    )
    client = guessing["per_client"]
    assert (plain["rollback_bytes"], client["rollback_bytes"]) == (0, 3 * client["state_bytes"])
    assert allocated(cpu_engine, guessing["arguments"]) == guessing["rows"]


@pytest.mark.engine
def test_a_table_for_people(cpu_engine, tmp_path):
    path = write_header(tmp_path / "model.gguf", spec_of("nemotron-3-nano"))
    result = pannier(cpu_engine, "plan", path, "-c", 65536, "-np", 8)
    words = result.stdout if result.returncode == 0 else result.stderr
    if result.returncode:  # 35 GiB of system memory are not everywhere
        assert "CPU has to hold" in words
        return
    for word in ("weights", "recurrent", "Each additional client: 8192 cells", "pannier serve"):
        assert word in words


@pytest.mark.engine
def test_wrong_wishes(cpu_engine, tmp_path):
    model = DATA / "llama" / "model-f32.gguf"
    large = write_header(tmp_path / "model.gguf", spec_of("qwen3-coder-next"))
    cases = {
        (model, "--vram", "1G"): "--vram names 1 devices; there are 0",
        (model, "-dev", "GPU9"): "no device 'GPU9' to plan for",
        (large, "-c", str(1 << 23)): "CPU has to hold",
    }
    for arguments, message in cases.items():
        result = pannier(cpu_engine, "plan", *arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return linked_cache(tmp_path_factory.mktemp("cache"))


def linked_cache(folder):
    """A cache that remembers a driver's share and links to the engines that are built."""
    from pannier.engine.cache import cache_directory

    for part in ("engines", "sources"):
        if not (folder / part).exists():
            (folder / part).symlink_to(cache_directory() / part)
    return folder


@pytest.mark.vulkan
def test_a_budget_is_never_exceeded(vulkan_engine, cache):
    model = DATA / "qwen3next" / "model-f32.gguf"
    whole = plan(vulkan_engine, model, env=VULKAN, cache=cache)
    [device, host] = whole["devices"]
    assert host["device"] == "CPU"
    share = device["headroom_bytes"]
    for kib in (16384, 4096, 2048):
        limit = share + kib * 1024
        answer = plan(
            vulkan_engine, model, "--vram", f"{limit / 1024:.3f}K", env=VULKAN, cache=cache
        )
        [device, _] = answer["devices"]
        assert device["headroom_bytes"] == share
        assert device["total_bytes"] <= kib * 1024
        assert allocated(vulkan_engine, answer["arguments"], env=VULKAN) == answer["rows"]


@pytest.mark.vulkan
def test_what_a_plan_cannot_hold(vulkan_engine, cache):
    model = DATA / "mamba2" / "model-f32.gguf"
    [misplaced] = plan(vulkan_engine, model, "-c", 1024, env=VULKAN, cache=cache)["misplaced"]
    assert misplaced.startswith("SSM_SCAN of layers 0-2 would run on CPU instead of Vulkan0")
    words = pannier(vulkan_engine, "plan", model, "-c", 1024, env=VULKAN, cache=cache).stdout
    assert "Misplaced, so it starts with --no-strict only:\n  SSM_SCAN" in words
    model = DATA / "llama" / "model-f32.gguf"
    assert plan(vulkan_engine, model, "-c", 1024, env=VULKAN, cache=cache)["misplaced"] == []


@pytest.mark.vulkan
def test_two_devices(vulkan_engine, cache):
    """The one software device, twice."""
    env = {"GGML_VK_VISIBLE_DEVICES": "0,0"}
    model = DATA / "qwen3next" / "model-f32.gguf"
    answer = plan(vulkan_engine, model, "--vram", "8M,8M", "-c", 1024, env=env, cache=cache)
    first, second, host = answer["devices"]
    assert (first["device"], second["device"], host["device"]) == ("Vulkan0", "Vulkan1", "CPU")
    assert min(first["weights_bytes"], second["weights_bytes"]) > 0
    assert max(first["total_bytes"], second["total_bytes"]) <= 8 << 20
    assert sum(answer["tensor_split"]) == answer["n_gpu_layers"]
    assert allocated(vulkan_engine, answer["arguments"], env=env) == answer["rows"]


@pytest.mark.vulkan
def test_a_refusal_on_a_device(vulkan_engine, cache):
    model = DATA / "llama" / "model-f32.gguf"
    result = pannier(
        vulkan_engine, "plan", model, "--vram", "100K", "-ngl", "all", cache=cache, env=VULKAN
    )
    assert result.returncode == 1
    assert "Vulkan0 has to hold" in result.stderr


@pytest.mark.engine
def test_what_each_row_matches(cpu_engine, tmp_path):
    moe = DATA / "qwen3moe" / "model-f32.gguf"
    arguments = (moe, "-c", "512", "--experts", "cpu:0", "--show-tensors")
    found = plan(cpu_engine, *arguments, cache=tmp_path)
    weights = sum(row["bytes"] for row in found["rows"] if row["kind"] == "weights")
    sums = found["tensors"]["buffers"]
    assert sum(one["tensor_bytes"] + one["padding_bytes"] for one in sums) == weights
    cpu, gpu, _ = found["tensors"]["rows"]
    assert (cpu["source"], cpu["n_matching"], cpu["buffer"]) == ("--experts cpu:0", 3, "CPU")
    assert (gpu["n_matching"], gpu["buffer"]) == (6, None)
    result = pannier(cpu_engine, "plan", *arguments, cache=tmp_path)
    assert "--experts cpu:0" in result.stdout and "blk.{1-2}.ffn_up_exps.weight" in result.stdout
    result = pannier(cpu_engine, "plan", moe, "--experts", "cpu:0-3", cache=tmp_path)
    assert result.returncode != 0
    assert "layer 3 of this model has no routed experts" in result.stderr


@pytest.mark.engine
def test_rows_that_disagree(cpu_engine, tmp_path):
    moe = DATA / "qwen3moe" / "model-f32.gguf"
    arguments = (moe, "-c", "512", "-ot", r"blk\.0.*exps=CPU")
    assert plan(cpu_engine, *arguments, cache=tmp_path)["notes"] == []
    [note] = plan(cpu_engine, *arguments, "--experts", "gpu", cache=tmp_path)["notes"]
    assert "disagree over 3 of 9 tensors" in note
    result = pannier(cpu_engine, "plan", *arguments, "--experts", "gpu:0", cache=tmp_path)
    assert "--experts gpu:0 has no effect" in result.stderr
