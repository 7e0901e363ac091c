"""The search, over machines that exist in figures only."""

import re
from dataclasses import replace

import pytest

from pannier.errors import PlanError
from pannier.layer_split import split_layers
from pannier.planner import Wish, make_plan
from pannier.planner.facts import Layer
from pannier.planner.search import largest
from pannier.planner.speed import GB, Bandwidths
from tests.planner.machine import GIB, MIB, Machine, dense, moe, wish


def planned(facts, asked, **machine):
    """The plan of a wish, held against its budgets and against what was fixed."""
    costs = Machine(facts, n_devices=len(asked.devices), **machine)
    plan = make_plan(asked, facts, costs)
    assert plan.cost == costs(plan.config)
    assert plan.cost.excess(asked.budgets) == {}
    for name in asked.fixed:
        assert getattr(plan.config, name) == getattr(asked.config, name), name
    return plan


def test_what_fits_is_on_the_device():
    plan = planned(moe(), wish(16 * GIB))
    assert plan.cost.expert_bytes == {"GPU0": 8 * GIB}
    assert plan.config.n_gpu_layers == 9
    assert (plan.config.cache_type_k, plan.config.n_parallel) == ("f16", 4)
    assert plan.given_up == ()


def test_experts_go_first_and_only_as_many_as_must():
    plan = planned(moe(), wish(6 * GIB, fixed=["moe_cache_mib"]))
    assert plan.config.n_gpu_layers == 9
    on_device = plan.cost.expert_bytes["GPU0"] // GIB
    assert on_device == 4
    left = 6 * GIB - plan.cost.used_bytes("GPU0")
    assert left < GIB, "one more would have fitted"
    assert "50% of the experts" in plan.given_up[0]
    assert plan.config.experts == "cpu:0-3"
    assert plan.arguments[plan.arguments.index("--experts") + 1] == "cpu:0-3"


def test_a_cache_of_experts_where_it_promises_more_than_whole_layers():
    facts, asked = moe(n_layers=32), wish(16 * GIB, load_mode="none")
    rates = Bandwidths(link=50 * GB)
    plan = make_plan(asked, facts, Machine(facts), rates)
    assert plan.config.experts == "cpu"
    assert plan.config.moe_cache_mib << 20 > 9 * GIB
    without = replace(asked, fixed=frozenset({"moe_cache_mib"}))
    assert plan.seconds < make_plan(without, facts, Machine(facts), rates).seconds


def test_no_cache_where_its_hits_or_the_link_are_too_few():
    facts, rates = moe(n_layers=32), Bandwidths(link=50 * GB)
    pinned, mapped = wish(16 * GIB, load_mode="none"), wish(16 * GIB)
    plan = make_plan(mapped, facts, Machine(facts), rates)
    assert plan.config.moe_cache_mib == 0, "pages of the file are copied by way of the driver"
    even = ((0.0, 0.0), (1.0, 1.0))
    assert make_plan(pinned, facts, Machine(facts), rates, even).config.moe_cache_mib == 0


def test_a_cache_holds_the_experts_of_all_clients_at_once():
    """Else llama.cpp computes the batch on the CPU, and says nothing."""
    facts = replace(moe(n_layers=32, expert=2 * GIB), n_expert=4, n_expert_used=2)
    plan = planned(facts, wish(6 * GIB))
    assert plan.config.moe_cache_mib == 0 or plan.config.moe_cache_mib << 20 >= 2 * GIB


def test_layers_go_where_there_is_no_expert_to_go():
    plan = planned(dense(), wish(4 * GIB))
    assert 0 < plan.config.n_gpu_layers < 9
    assert plan.config.experts is None
    assert plan.cost.used_bytes("GPU0") > 3 * GIB
    assert "layers are in system memory" in plan.given_up[0]


def test_the_driver_s_share_is_left_alone():
    free = planned(dense(), wish(4 * GIB))
    less = planned(dense(), wish(4 * GIB, headroom=GIB))
    assert less.cost.used_bytes("GPU0") <= 3 * GIB < free.cost.used_bytes("GPU0")
    assert less.device_row("GPU0")["headroom_bytes"] == GIB


def test_the_context_takes_what_is_left():
    plan = planned(dense(), wish(12 * GIB))
    assert plan.config.n_gpu_layers == 9
    one_more = replace(plan.config, n_ctx=plan.config.n_ctx + 1024)
    cost = Machine(dense())(one_more)
    assert plan.config.n_ctx == 131072 or cost.excess(plan.wish.budgets)


def test_prefer_context():
    asked = wish(6 * GIB, prefer="context")
    facts = moe(n_ctx_train=1 << 20)
    plan = planned(facts, asked)
    speedy = planned(facts, replace(asked, prefer="speed"))
    assert plan.config.n_ctx > speedy.config.n_ctx
    assert plan.config.cache_type_k == "q4_0"
    assert any("q4_0" in line for line in plan.given_up)
    f16 = planned(facts, wish(6 * GIB, prefer="context", cache_type_k="f16", cache_type_v="f16"))
    assert speedy.config.n_ctx < f16.config.n_ctx < plan.config.n_ctx
    short = planned(moe(n_ctx_train=8192), asked)
    assert (short.config.n_ctx, short.config.cache_type_k) == (8192, "f16")


def test_prefer_clients():
    plan = planned(recurrent(), wish(6 * GIB, prefer="clients"))
    assert 4 < plan.config.n_parallel <= 64
    assert plan.config.n_batch >= plan.config.n_parallel
    more = replace(plan.config, n_parallel=plan.config.n_parallel + 1)
    bare = replace(more, experts="cpu", moe_cache_mib=0)
    cost = Machine(recurrent())(replace(bare, n_ctx=4096 * more.n_parallel))
    assert plan.config.n_parallel == 64 or cost.excess(plan.wish.budgets)


def recurrent():
    layers = tuple(
        Layer(128 * MIB, GIB, attends=i % 4 == 3, is_recurrent=i % 4 != 3) for i in range(8)
    )
    return replace(moe(), layers=layers)


def test_one_more_client_costs_its_cells_and_its_state():
    plan = planned(recurrent(), wish(64 * GIB, n_ctx=65536, n_parallel=8))
    client = plan.per_client()
    assert client["n_cells"] == 8192
    assert client["cells_bytes"] == 8192 * 1024 * 2 * 2
    assert client["state_bytes"] == 16 * MIB
    assert client["total_bytes"] == client["cells_bytes"] + 6 * 16 * MIB


@pytest.mark.parametrize(
    "fixed",
    [
        {"n_ctx": 32768},
        {"n_parallel": 2},
        {"cache_type_k": "q8_0", "cache_type_v": "q8_0"},
        {"n_ubatch": 64},
        {"n_batch": 128},
        {"experts": "cpu"},
        {"n_gpu_layers": 3},
        {"n_cpu_moe": 7},
    ],
)
@pytest.mark.parametrize("prefer", ["speed", "context", "clients"])
def test_what_was_asked_for_stays(fixed, prefer):
    planned(moe(), wish(7 * GIB, prefer=prefer, **fixed))  # `planned` compares


def test_smaller_graphs_clients_and_contexts_before_giving_up():
    fixed = {"n_gpu_layers": -1, "experts": "cpu"}
    plan = planned(moe(), wish(1700 * MIB, **fixed), compute=1024 * MIB)
    assert (plan.config.n_ubatch, plan.config.n_parallel) == (128, 4)
    assert any("passes of" in line for line in plan.given_up)
    tight = planned(moe(), wish(1340 * MIB, n_ubatch=512, **fixed), compute=32 * MIB)
    assert tight.config.n_parallel == 1
    assert "1 of 4 clients" in tight.given_up


def test_a_refusal_says_by_how_much_and_what_would_fit():
    asked = wish(4 * GIB, n_gpu_layers=-1, experts="gpu", n_ctx=4096)
    with pytest.raises(PlanError, match=r"GPU0 has to hold 9\.\d+ GiB, \d+ MiB more") as error:
        planned(moe(), asked)
    assert "What would fit: -ngl 9" in str(error.value)
    asked = wish(16 * GIB, n_gpu_layers=-1, experts="gpu", n_ctx=1 << 21)
    with pytest.raises(PlanError) as error:
        planned(moe(), asked)
    found = re.search(r"-c (\d+)", str(error.value))
    assert found and int(found[1]) < 1 << 21
    with pytest.raises(PlanError, match="CPU has to hold") as error:
        planned(moe(), wish(host=MIB))
    assert "What would" not in str(error.value)


def test_system_memory_alone():
    plan = planned(dense(), wish(host=9 * GIB))
    assert plan.config.n_gpu_layers == -1
    assert plan.config.n_ctx > 16384
    assert plan.devices == ("CPU",)


def test_several_devices_are_filled_evenly():
    plan = planned(moe(), wish(6 * GIB, 6 * GIB))
    assert plan.cost.expert_bytes.get("CPU", 0) == 0
    used = [plan.cost.used_bytes(f"GPU{i}") for i in range(2)]
    assert max(used) - min(used) <= 2 * GIB
    uneven = planned(moe(), wish(9 * GIB, 3 * GIB))
    assert uneven.config.tensor_split[0] > uneven.config.tensor_split[1] > 0
    three = planned(moe(n_layers=24), wish(6 * GIB, 4 * GIB, 5 * GIB, fixed=["moe_cache_mib"]))
    for device, limit in enumerate((6, 4, 5)):
        left = limit * GIB - three.cost.used_bytes(f"GPU{device}")
        assert 0 <= left < 1.2 * GIB
    assert 0 < three.cost.expert_bytes["CPU"] < 24 * GIB


def test_several_devices_and_few_layers_on_them():
    plan = planned(dense(n_layers=16), wish(3 * GIB, 3 * GIB))
    assert sum(plan.config.tensor_split) == plan.config.n_gpu_layers > 2
    assert min(plan.config.tensor_split) >= 1


def test_choices_are_cheaper():
    plan = planned(moe(), wish(16 * GIB))
    flags = {choice.flags[0]: choice for choice in plan.choices}
    assert {"-c", "-ctk", "-np", "-ub", "--experts"} <= {*flags, "-np"}
    assert all(sum(choice.saved_bytes.values()) > 0 for choice in plan.choices)
    assert flags["--experts"].speed < 1 <= flags["-ctk"].speed


def test_few_questions_are_asked():
    for prefer in ("speed", "context", "clients"):
        facts = moe(n_layers=48, expert=900 * MIB)
        costs = Machine(facts)
        make_plan(wish(8 * GIB, prefer=prefer), facts, costs)
        assert len(costs.asked) < 80
        assert len(set(costs.asked)) == len(costs.asked)


def test_split_layers():
    assert split_layers([1, 1, 1, 1], [1.0]) == (4,)
    assert split_layers([1, 1, 1, 1], [5.0, 5.0]) == (2, 2)
    assert split_layers([1, 1, 1, 1, 1, 1], [2.0, 1.0]) == (4, 2)
    assert split_layers([3, 1, 1, 1], [9.0, 9.0]) == (1, 3)
    assert sum(split_layers([5.0] * 7, [1.0, 0.0, 1.0])) == 7


def test_largest():
    assert [largest(1, 9, lambda n, most=most: n <= most) for most in (0, 1, 5, 9)] == [0, 1, 5, 9]


def test_a_wish_places_weights_unless_told_where():
    assert wish(GIB).places
    assert not wish(GIB, n_cpu_moe=2).places
    assert not wish(host=GIB).places
    assert isinstance(wish(GIB), Wish)


def test_weights_beyond_system_memory_are_read_from_the_file():
    facts = moe(n_layers=32, n_ctx_train=4096)
    small, large = (
        planned(facts, wish(4 * GIB, host=host, n_ctx=4096), mapped=True)
        for host in (10 * GIB, 64 * GIB)
    )
    assert large.paging is None
    assert small.paging.weight_bytes == small.cost.mapped_bytes()
    assert small.paging.room_bytes == 10 * GIB - small.cost.used_bytes("CPU")
    assert small.seconds == pytest.approx(
        large.seconds + small.paging.disk_bytes / Bandwidths().disk
    )


def test_weights_that_cannot_be_mapped_have_to_fit():
    with pytest.raises(PlanError, match="CPU has to hold"):
        planned(moe(n_layers=32), wish(4 * GIB, host=10 * GIB, n_ctx=4096))


def test_weights_stay_pages_of_the_file_where_they_do_not_fit_otherwise():
    asked = wish(host=6 * GIB)
    plan = planned(moe(), asked, packs=True)
    assert "--no-repack" in plan.arguments
    assert "not rearranged" in plan.given_up[0]
    roomy = planned(moe(), wish(host=24 * GIB), packs=True)
    assert roomy.config.repack
    assert not any("rearranged" in line for line in roomy.given_up)
    for prefer in ("context", "clients"):
        assert not planned(moe(), replace(asked, prefer=prefer), packs=True).config.repack
    with pytest.raises(PlanError, match=r"What would fit: .*--no-repack"):
        planned(moe(), replace(asked, fixed=frozenset({"repack"})), packs=True)
