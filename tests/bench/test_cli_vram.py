"""`pannier bench vram`, on real engines with real servers."""

import json
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pannier.convert.byte_vocabulary import ByteVocabulary
from pannier.convert.random_gguf import Qwen3NextSpec, write_header, write_random
from pannier.engine import source_tree
from pannier.engine.compile import lay_out
from pannier.engine.find import find_engine
from pannier.engine.recipe import make_recipe
from pannier.engine.series import read_bench_patches
from pannier.synth.models import spec_of
from tests.bindings.conftest import DATA
from tests.conftest import engine_environment

TINY = DATA / "qwen3next" / "model-f32.gguf"
SMALL = ("--prompt", 96, "--shared", 64, "-n", 2000, "-t", 1)


def bench(engine, *arguments, env=None):
    """Run the command; stdout, stderr and status."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pannier", "bench", "vram", *map(str, arguments)],
        env=engine_environment(engine) | (env or {}),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def found(engine, *arguments, env=None):
    result = bench(engine, *arguments, "--json", env=env)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check_measured(series, device):
    """A plan is what is allocated, kind by kind, and the ledger has each client's own."""
    assert [point["n_clients"] for point in series["points"]] == [1, 2, 4]
    for point in series["points"]:
        assert point["allocated"] == point["predicted"]
        assert point["allocated_less_predicted"] == {}
        [place] = [place for place in point["places"] if device in place["devices"]]
        assert place["allocated_bytes"] == place["predicted_bytes"] > 0
        assert place["measured_bytes"] > 0
        cells = point["held"]["n_cells"] - 64
        assert 32 * point["n_clients"] <= cells <= 2032 * point["n_clients"]
        assert point["held"]["state_bytes"] == point["n_clients"] * point["state_bytes"]


@pytest.mark.engine
def test_clients_on_the_cpu(cpu_engine, tmp_path):
    result = bench(cpu_engine, TINY, "-np", 4, *SMALL, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Each additional client needs 2032 cells and a state" in result.stdout
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["command"].startswith("pannier bench vram model-f32.gguf -np 4")
    assert (report["bench"], report["model"]) == ("vram", "model-f32.gguf")
    [series] = report["series"]
    check_measured(series, "CPU")
    assert series["engine"] == cpu_engine.name
    ElementTree.parse(tmp_path / "out.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.svg"]


@pytest.mark.vulkan
def test_clients_on_a_device(vulkan_engine):
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    # flash attention ends in the driver, Mesa 22.3's
    report = found(vulkan_engine, TINY, "-np", 4, *SMALL, "-ub", 32, "-fa", "off", env=env)
    [series] = report["series"]
    check_measured(series, "Vulkan0")
    places = [point["places"][0] for point in series["points"]]
    assert {place["measured_by"] for place in places} == {"process"}
    beside = {place["measured_bytes"] - place["allocated_bytes"] for place in places}
    assert len(beside) == 1, "clients take something that is no buffer"
    assert 0 <= beside.pop() < 1 << 20


@pytest.mark.engine
@pytest.mark.slow
def test_eight_clients_with_a_prefix_take_their_own(cpu_engine, tmp_path):
    """Figures of the whole process, so the model has clients of 23 MiB: as in Qwen3-Next, 36
    layers with a state of half a mebibyte and 12 with cells of 2 KiB, but hardly any weights."""
    spec = Qwen3NextSpec(
        name="states",
        type="Q8_0",
        n_embd=128,
        n_layer=48,
        n_head=2,
        n_head_kv=2,
        head_dim=256,
        ssm_head_dim=64,
        ssm_k_heads=8,
        ssm_v_heads=16,
        n_expert=4,
        n_expert_used=2,
        n_ff_exp=32,
        vocabulary=ByteVocabulary((" a", " b", "cd")),
        tied=True,
    )
    model = write_random(tmp_path / "model.gguf", spec)
    load = ("--prompt", 2080, "--shared", 2048, "-n", 544)
    [series] = found(cpu_engine, model, "-np", 8, "-ub", 128, *load)["series"]
    each = series["each_additional_client"]
    assert series["own_bytes"] == 36 * (16 * 64 * 64 + 3 * 2048) * 4 + 576 * 12 * 2048
    assert each["predicted"] == each["allocated"]
    assert 1 <= each["allocated_over_own"] <= 1.05
    assert 0.95 <= each["measured_over_own"] <= 1.05
    assert each["held_over_own"] <= 1
    last = series["points"][-1]
    held = last["held"]
    assert held["state_bytes"] == 8 * last["state_bytes"]
    assert held["n_cells"] <= 2048 + 8 * 576, "the prefix is there more than once"


@pytest.mark.engine
def test_what_cannot_be(cpu_engine, tmp_path):
    large = write_header(tmp_path / "model.gguf", spec_of("qwen3-coder-next"))
    cases = {
        (TINY, "--shared", 5000): "--shared 5000 is more than --prompt 4096",
        (TINY,): "this model was trained with 4096",
        (TINY, "-c", 1024, *SMALL): "-c 1024 has no room for 8 clients",
        (tmp_path / "none.gguf",): "is not a file",
        (TINY, "--compare", "unfixed", "--kv", "split", *SMALL): "leave --kv out",
        (TINY, *SMALL, "-o", tmp_path / "no" / "x"): "there is no folder",
        (
            large,
            "-c",
            1 << 23,
        ): "more than is free: start fewer or smaller ones, or say --plan-only",
        (TINY, *SMALL, "-n", 1): "raise --predict",
    }
    for arguments, message in cases.items():
        result = bench(cpu_engine, *arguments)
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert message in last
        assert last.startswith("pannier: error: ")


# ---------------------------------------------------------------- --compare unfixed


@pytest.fixture(scope="module")
def unfixed(cpu_engine):
    from pannier.bench.unfixed import unfixed_engine

    return unfixed_engine(cpu_engine)


def kv_of(report):
    """KV bytes of each series at its first and last number of clients."""
    return [
        [
            sum(kinds["kv"] for kinds in point["predicted"].values())
            for point in (series["points"][0], series["points"][-1])
        ]
        for series in report["series"]
    ]


@pytest.mark.engine
def test_the_patch_is_in_no_engine_that_serves(cpu_engine, unfixed, monkeypatch):
    [patch] = read_bench_patches(["unfixed"])
    assert patch.missing_fields == ()
    assert unfixed.manifest.key != cpu_engine.manifest.key
    assert list(unfixed.manifest.ingredients["patches"])[-1] == "unfixed"
    assert "unfixed" not in cpu_engine.manifest.ingredients["patches"]
    monkeypatch.delenv("PANNIER_ENGINE", raising=False)
    assert find_engine("cpu").name != unfixed.name


@pytest.mark.engine
def test_the_patch_applies_after_the_series(cpu_engine, tmp_path):
    options = replace(cpu_engine.manifest.options, bench_patches=("unfixed",))
    lay_out(source_tree(), make_recipe(options).patches, tmp_path)


@pytest.mark.engine
def test_eight_times_the_cache_for_real(cpu_engine, unfixed):
    """Servers with clients at work, on a cache of one size."""
    load = ("--prompt", 96, "--shared", 64, "-n", 416, "-t", 1)
    report = found(cpu_engine, TINY, "-np", 8, "--compare", "unfixed", *load)
    for series in report["series"]:
        for point in series["points"]:
            assert point["allocated"] == point["predicted"]
    (one, eight), split, (bad_one, bad_eight) = kv_of(report)
    assert eight == one == bad_one
    assert split == [one, one]
    assert bad_eight == 8 * one
    assert [series["kv_ratio"] for series in report["series"]] == [1.0, 1.0, 8.0]
    assert report["series"][2]["engine"] == unfixed.name


@pytest.mark.engine
@pytest.mark.parametrize("name", ["nemotron-3-nano", "qwen3-coder-next", "kimi-linear"])
def test_eight_times_the_cache_at_real_sizes(cpu_engine, unfixed, name, tmp_path):
    model = write_header(tmp_path / "model.gguf", spec_of(name))
    report = found(
        cpu_engine, model, "-np", 8, "-c", 1 << 20, "--plan-only", "--compare", "unfixed"
    )
    (one, eight), split, (bad_one, bad_eight) = kv_of(report)
    assert eight == one == bad_one == split[0] == split[1] > 5 << 30
    assert bad_eight == 8 * one


@pytest.mark.engine
def test_an_engine_that_is_made_to_compare(unpatched_engine):
    result = bench(unpatched_engine, TINY, "--plan-only", "--compare", "unfixed", *SMALL)
    assert "compare with a plain engine" in result.stderr


@pytest.mark.engine
def test_unfixed_is_built_like_the_engine_beside_it(cpu_engine, monkeypatch):
    from pannier.bench import unfixed as module

    asked = []
    monkeypatch.setattr(module, "ensure_engine", asked.append)
    module.unfixed_engine(cpu_engine)
    [options] = asked
    assert options.bench_patches == ("unfixed",)
    assert replace(options, bench_patches=(), tools=True) == replace(
        cpu_engine.manifest.options, tools=True
    )
