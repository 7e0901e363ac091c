"""Rates through the boundary: what cannot be measured is an error and no crash."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pannier.engine import Engine
from pannier.errors import ArgumentError
from pannier.rates import measure_rate
from tests.conftest import run_python

MIB = 1 << 20
GOOD = {"n_bytes": 8 * MIB, "block_bytes": 100_000, "seconds": 0.0, "n_threads": 1}


@pytest.mark.engine
@pytest.mark.parametrize("block_bytes", [1, 100_000, 8 * MIB])
@pytest.mark.parametrize("type", ["Q4_K", "q8_0", "F16", "MXFP4"])
def test_the_cpu_reads_experts(pannier: object, type: str, block_bytes: int) -> None:
    options = GOOD | {"type": type, "block_bytes": block_bytes}
    assert 1e6 < measure_rate(0, "read", **options) < 1e13  # type: ignore[arg-type]


@pytest.mark.engine
def test_the_cpu_copies(pannier: object) -> None:
    assert 1e6 < measure_rate(0, "copy", **GOOD) < 1e13  # type: ignore[arg-type]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": 99}, "device 99 does not exist"),
        ({"device": -1}, "device -1 does not exist"),
        ({"rate": "upload"}, "rate 2 of CPU cannot be measured"),
        ({"rate": "sync"}, "rate 5 of CPU cannot be measured"),
        ({"type": "Q4_L"}, "'Q4_L' is no tensor type"),
        ({"n_bytes": MIB}, "1048576 bytes in blocks of 100000 cannot be measured"),
        ({"n_bytes": 1 << 40}, "cannot be measured"),
        ({"block_bytes": 0}, "in blocks of 0 cannot be measured"),
        ({"block_bytes": 9 * MIB}, "cannot be measured"),
        ({"n_threads": -1}, "n_threads is -1"),
        ({"seconds": float("nan")}, "nan seconds; it must be 0 to 600"),
        ({"seconds": 601.0}, "601 seconds"),
    ],
)
def test_refusals(pannier: object, change: dict[str, Any], message: str) -> None:
    options = {"device": 0, "rate": "read", **GOOD, **change}
    device, rate = options.pop("device"), options.pop("rate")
    with pytest.raises(ArgumentError, match=message):
        measure_rate(device, rate, **options)


CODE = """
import json
from pannier import devices
from pannier.rates import RATES, measure_rate

[index] = [i for i, one in enumerate(devices()) if one.name == "Vulkan0"]
found = {}
for rate in RATES:
    if rate != "copy":
        options = dict(n_bytes=8 << 20, block_bytes=100_000, seconds=0.0, n_threads=1)
        found[rate] = measure_rate(index, rate, **options)
print(json.dumps(found))
"""


@pytest.mark.vulkan
def test_a_device(vulkan_engine: Engine) -> None:
    found = json.loads(run_python(vulkan_engine, CODE, env={"GGML_VK_VISIBLE_DEVICES": "0"}))
    assert set(found) == {"read", "upload", "upload_pinned", "download", "sync"}
    assert all(1e6 < found[rate] < 1e13 for rate in found if rate != "sync")
    assert 1e-8 < found["sync"] < 1
