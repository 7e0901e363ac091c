"""Which place for experts is kept, by what was measured."""

import json

import pytest

from pannier.errors import EngineError
from pannier.planner import calibrate, make_plan
from pannier.planner.calibrate import best, calibrated, measured
from pannier.planner.decode_rate import Rates
from tests.planner.machine import GIB, Machine, moe, wish
from tests.planner.test_cli import DATA, VULKAN, linked_cache, plan
from tests.server.test_strict import server


def a_plan(tmp_path, **changes):
    """Experts of 32 GiB for 16 GiB of device, so there is a choice."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    return make_plan(wish(16 * GIB, **changes), moe(n_layers=32), Machine(moe(n_layers=32)))


def test_the_ways_of_a_plan(tmp_path):
    plan = a_plan(tmp_path)
    assert {way.kind for way in plan.ways} == {"cache", "layers", "system"}
    assert plan.ways[0].config == plan.config
    for way in plan.ways:
        assert way.cost.n_ctx == plan.cost.n_ctx
        assert way.cost.excess(plan.wish.budgets) == {}


def test_no_choice_no_ways():
    """All experts fit; the placement is the user's; there are none."""
    for asked, facts in (
        (wish(64 * GIB), moe()),
        (wish(16 * GIB, experts="cpu"), moe(n_layers=32)),
        (wish(16 * GIB), moe(n_layers=32, expert=0)),
    ):
        assert make_plan(asked, facts, Machine(facts)).ways == ()


def test_a_fixed_cache_stays():
    facts = moe(n_layers=32)
    plan = make_plan(wish(16 * GIB, moe_cache_mib=0), facts, Machine(facts))
    assert {way.kind for way in plan.ways} == {"layers", "system"}


@pytest.mark.parametrize(
    ("layers", "cache", "system", "kept"),
    [
        ((10, 20), (20, 40), (5, 10), "cache"),
        ((10, 20), (20, 19), (5, 10), "layers"),  # slower for all clients at once
        ((10, 20), (9, 40), (5, 10), "layers"),  # slower for one
        ((10, 20), (10.2, 20.4), (5, 10), "layers"),  # noise
        ((10, 20), (12, 24), (13, 26), "system"),
        (None, (9, 40), (10, 20), "system"),
        (None, (30, 40), None, "cache"),
    ],
)
def test_what_is_kept(layers, cache, system, kept):
    """Never what is slower than plain placement, be it for one client or for all."""
    rates = {"cache": cache, "layers": layers, "system": system}
    assert best({kind: Rates(*rate, 4) for kind, rate in rates.items() if rate}) == kept


def test_a_way_that_fails_is_left_out(tmp_path, capsys):
    def rate_of(way):
        if way.kind == "cache":
            raise EngineError("the engine ended with status -11 while it was asked")
        return Rates(1.0, 1.0, 1)

    assert set(measured(a_plan(tmp_path), rate_of)) == {"layers", "system"}
    assert "a cache of experts on the devices is left out: the engine" in capsys.readouterr().err


def test_a_result_is_kept(tmp_path, monkeypatch):
    """Under the model, the ways and the devices; a failure is tried again."""
    tried = []

    def in_child(work, config):
        tried.append(config)
        if len(tried) == 1:
            raise EngineError("no")
        return Rates(2.0 if config.experts == "cpu" and not config.moe_cache_mib else 1.0, 1.0, 1)

    monkeypatch.setenv("PANNIER_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibrate, "in_child", in_child)
    plan = a_plan(tmp_path)
    assert calibrated(plan) == plan.placed_as(way(plan, "layers"))
    assert not (tmp_path / "calibration.json").exists()
    assert calibrated(plan) == calibrated(plan)
    assert len(tried) == 6
    [rates] = json.loads((tmp_path / "calibration.json").read_text()).values()
    assert set(rates) == {"cache", "layers", "system"}
    (tmp_path / "m.gguf").write_bytes(b"another")
    calibrated(plan)
    assert len(tried) == 9


def way(plan, kind):
    return next(way for way in plan.ways if way.kind == kind)


@pytest.mark.vulkan
def test_auto_on_a_device(vulkan_engine, tmp_path):
    """Half of the experts fit. -fa off: the software driver crashes over flash attention."""
    model = DATA / "qwen3next" / "model-f32.gguf"
    shape = ("-c", 512, "-np", 2, "-ub", 32, "-fa", "off", "-ctk", "f16", "-ctv", "f16")
    sizes = {}
    for experts in ("gpu", "cpu"):
        answer = plan(vulkan_engine, model, *shape, "--experts", experts, env=VULKAN)
        sizes[experts] = answer["devices"][0]["total_bytes"]
    half = (sizes["gpu"] + sizes["cpu"]) // 2048
    said = []
    for _ in range(2):
        with server(vulkan_engine, model, *shape, "--vram", f"{half}K", "--experts", "auto",
                    cache=linked_cache(tmp_path)) as (_, words):  # fmt: skip
            assert " serves " in words, words
            said.append(words)
    tried = [line for line in said[0].splitlines() if line.startswith("trying ")]
    assert len(tried) >= 2
    assert "trying " not in said[1], "the result was kept"
    rates = next(iter(json.loads((tmp_path / "calibration.json").read_text()).values()))
    assert len(rates) == len(tried)
    kept = best({kind: Rates(*rate) for kind, rate in rates.items()})
    assert all(f"kept: {calibrate.WORDS[kept]}" in words for words in said)
