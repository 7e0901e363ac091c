"""Which figure of a device counts, and what is held against it."""

import pytest

from pannier.bench.point import held_by, of_cost, places_of, reported
from tests.bench.figures import CELL, MIB, RESIDENT, STATE, cost, point, report


def test_the_cpu_is_measured_by_resident_memory():
    plan = cost(2, 1024)
    [place] = places_of(plan, report(plan, 500, 2), 99 * MIB)
    assert (place.name, place.measured_by, place.measured_bytes) == ("CPU", "resident", 99 * MIB)
    assert place.allocated_bytes == place.predicted_bytes == plan.used_bytes("CPU")
    assert plan.used_bytes("CPU") == sum(row.bytes for row in plan.rows) - 7 * MIB


@pytest.mark.parametrize(
    ("says", "figure", "by"),
    [
        ({"process_bytes": 33 * MIB}, 33 * MIB, "process"),
        ({"process_bytes": 0}, 0, "process"),
        ({"process_bytes": None, "free_bytes": 958 * MIB}, 42 * MIB, "device"),
        ({"free_bytes": 958 * MIB}, 42 * MIB, "device"),
    ],
)
def test_a_device_s_own_word(says, figure, by):
    plan = cost(2, 1024, "GPU0")
    gpu, host = places_of(plan, report(plan, 500, 2, **says), 60 * MIB)
    assert (gpu.name, gpu.measured_bytes, gpu.measured_by) == ("GPU0", figure, by)
    assert gpu.allocated_bytes == gpu.predicted_bytes == plan.used_bytes("GPU0")
    assert (host.name, host.allocated_bytes, host.measured_bytes) == ("CPU", 0, 60 * MIB)


def test_a_device_that_tells_nothing_is_counted_with_the_process():
    plan = cost(2, 1024, "GPU0")
    [place] = places_of(plan, report(plan, 500, 2, process_bytes=None), 60 * MIB)
    assert (place.name, place.measured_by) == ("GPU0 + CPU", "resident")
    assert place.allocated_bytes == plan.used_bytes("GPU0")


def test_clients_hold_what_they_hold():
    held = held_by(report(cost(3, 1024), 500, 3))
    assert (held.n_cells, held.cells_bytes, held.window_bytes) == (500, 500 * CELL, 0)
    assert held.state_bytes == 3 * STATE, "a kept prefix is nobody's client"
    said = report(cost(3, 1024), 500, 3)
    said["clients"][0]["kv_bytes"] += 77
    said["clients"][1]["rollback_bytes"] = 11
    assert held_by(said).window_bytes == 77
    assert held_by(said).bytes == 500 * CELL + 77 + 3 * STATE + 11


def test_differences_from_the_plan():
    assert point(2, 1024).difference == {}
    plan = cost(2, 1024)
    said = report(plan, 500, 2)
    said["devices"][0]["compute_bytes"] += 5
    real = point(2, 1024)
    changed = type(real)(**{**real.__dict__, "allocated": reported(said)})
    assert changed.difference == {"CPU": {"compute": 5}}


def test_a_plan_alone():
    plan = of_cost(2, cost(2, 1024))
    assert not plan.is_measured
    assert plan.kinds["kv"] == 1024 * CELL
    assert plan.client_places == ()
    assert point(2, 1024).places[0].measured_bytes == cost(2, 1024).used_bytes("CPU") + RESIDENT
