"""bench/experts and the phase of bench/gpu: what they make of what they measure."""

import sys
from pathlib import Path

import pytest

from pannier.planner import make_plan
from tests.planner.machine import GIB, Machine, dense, moe, wish

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def folders(monkeypatch):
    """The benches are scripts: their modules are found beside them."""
    for name in ("", "experts", "gpu"):
        monkeypatch.syspath_prepend(str(BENCH / name))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(str(BENCH)):
            del sys.modules[name]


def row(setup, server, clients, *rates):
    return {"setup": setup, "server": server, "clients": clients, "tokens_per_s": list(rates)}


def test_ratios_are_of_the_same_placement_and_number_of_clients():
    from placements import ratio

    rows = [
        row("layers", "pannier", 1, 3.0, 4.0, 5.0),
        row("layers", "llama-server", 1, 2.0, 2.0, 2.0),
        row("layers", "llama-server", 8, 1.0, 1.0, 1.0),
        row("cache", "llama-server", 1, 4.0, 4.0, 4.0),
        row("auto", "pannier", 1, 8.0, 8.0, 8.0),
    ]
    assert ratio(rows[0], rows) == 2.0
    assert ratio(rows[1], rows) is None
    assert ratio(rows[4], rows) == 2.0, "auto is held against the best that there is"


def test_ways_of_a_plan_become_servers():
    from placements import setups

    facts = moe()
    ways = make_plan(wish(6 * GIB, load_mode="none"), facts, Machine(facts)).as_dict()
    found = {(one.name, one.server): one.flags for one in setups(ways, "6G", facts.moe_layers)}
    assert found["system", "llama-server"] == ("--cpu-moe",)
    assert found["layers", "pannier"][-2:] == ("--experts", "cpu:0-3")
    assert found["layers", "llama-server"] == ("--n-cpu-moe", "4")
    *placed, flag, size = found["cache", "pannier"]
    assert (placed, flag) == (["--experts", "cpu"], "--moe-cache-mib")
    assert found["cache", "llama-server"] == ("--cpu-moe", "--moe-cache-mib", size)
    assert 1000 < int(size) < 6 * 1024
    assert found["auto", "pannier"] == ("--vram", "6G", "--experts", "auto")


def test_a_plan_without_experts_has_no_ways():
    from placements import setups

    facts = dense()
    ways = make_plan(wish(6 * GIB), facts, Machine(facts)).as_dict()
    assert {one.name for one in setups(ways, "6G", ())} == {"system", "auto"}


def test_the_rate_that_a_warning_names():
    from larger_than_ram import predicted

    assert predicted("x: 33 MB for each token, about 8.2 tokens/s for one client") == 8.2
    assert predicted("nothing") is None


def test_experts_that_were_in_memory():
    from larger_than_ram import Turn

    found = Turn(n_tokens=10, seconds=2.0, read_bytes=200).as_dict(used_bytes=100)
    assert found["tokens_per_s"] == 5.0
    assert found["experts_found_in_memory"] == 0.8


def test_a_chart_of_each_kind():
    from chart import larger_chart, places_chart

    turns = [{"tokens_per_s": rate} for rate in (1.0, 2.0, 3.0)]
    larger = {
        "model": "m.gguf", "model_bytes": 2**34, "limit_bytes": 2**33,
        "pannier": {"predicted_tokens_per_s": 9.0, "turns": turns},
        "llama-server": {"turns": turns},
    }  # fmt: skip
    assert "predicted: tokens/s 9;" in larger_chart(larger).words()
    one = row("layers", "pannier", 1, 3.0, 4.0, 5.0) | {"roofline": {"tokens_per_s": 50.0}}
    places = {"model": "m", "backend": "cuda", "is_software": False, "rows": [one]}
    assert "some layers, 1: pannier 4, roofline 50" in places_chart(places).words()


def test_a_limit_that_was_passed_for_a_moment():
    from limited import Watch, report

    reads = iter([100, 120, 190, 110])
    watch = Watch(lambda: next(reads))
    for _ in range(3):
        watch.look()
    assert watch.peak_bytes == 90
    rows = [{"clients": 1, "tokens_per_s": [41.0, 42.0, 39.0], "peak_bytes": watch.peak_bytes}]
    assert report(rows, 90, "nvml")["is_within"]
    assert not report(rows, 89, "nvml")["is_within"]
    assert report(rows, 90, "nvml")["reached"]


def test_experts_is_a_phase_that_has_to_be_named(tmp_path):
    from bench_run import Bench

    usual = Bench(tmp_path, tmp_path, tmp_path, {"PANNIER_GPU_BACKEND": "cpu"})
    assert "experts" not in usual.wanted
    named = {"BENCH_PHASES": "build experts", "PANNIER_GPU_BACKEND": "cpu"}
    asked = Bench(tmp_path, tmp_path, tmp_path, named)
    assert asked.wanted == ["build", "experts"]
    assert asked.deadline > usual.deadline + 1000


def test_a_disk_without_room_for_the_model_is_said(tmp_path, monkeypatch):
    import experts
    from bench_run import Bench

    bench = Bench(tmp_path, tmp_path, tmp_path, {"PANNIER_GPU_BACKEND": "cuda"})
    monkeypatch.setattr(experts, "FREE_BYTES", 1 << 60)
    assert experts.file(bench) is None
    assert "another folder in BENCH_WORK" in bench.outcomes[-1].error
