"""Whose word counts when a model is loaded: the caller's, then the file's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pannier import load_placement
from pannier.device import Device
from pannier.errors import ArgumentError
from pannier.load_placement import expert_rows, fits
from pannier.modelfile import ModelFile, open_model_file
from pannier.override_rows import FILE
from pannier.placement import EXPERTS, Placement

DATA = Path(__file__).resolve().parents[1] / "data"


def file_with(experts: Any) -> ModelFile:
    """The tiny Qwen3Moe, its experts placed; None for a file that says nothing."""
    from dataclasses import replace

    file = open_model_file(DATA / "qwen3moe" / "model-f32.gguf")
    metadata = {key: file.metadata[key] for key in file.metadata if "placement" not in key}
    if experts is not None:
        sizes = [(tensor.name, tensor.n_bytes) for tensor in file.tensors]
        metadata |= Placement.of_experts(experts, sizes).to_metadata()
    return replace(file, metadata=metadata)


def gpu(free: int, name: str = "CUDA0") -> Device:
    return Device(name, "", "CUDA", "gpu", free, free)


@pytest.fixture
def small_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_placement, "devices", lambda: [gpu(1 << 20)])


CPU = [(EXPERTS, "CPU")]
GPU = [(EXPERTS, None)]


@pytest.mark.usefixtures("small_gpu")
@pytest.mark.parametrize(
    ("in_file", "asked", "rows"),
    [
        (None, None, []),
        ("cpu", None, CPU),
        ("gpu", None, []),
        ("auto", None, CPU),
        ("cpu", "gpu", GPU),
        ("gpu", "cpu:1", [(rf"blk\.(1){EXPERTS}", "CPU"), (rf"blk\.([02]){EXPERTS}", None)]),
        (None, "cpu:0|cpu", [(rf"blk\.([0-2]){EXPERTS}", "CPU")]),
        ("gpu", "cpu", CPU),
        (None, "cpu", CPU),
        ("gpu", "auto", CPU),
    ],
)
def test_whose_word_counts(in_file: str | None, asked: str | None, rows: list[Any]) -> None:
    found = expert_rows(file_with(in_file), asked, 0, ())
    assert [(row.pattern, row.buffer) for row in found] == rows
    assert {row.source for row in found} <= {f"--experts {asked}", FILE}


@pytest.mark.usefixtures("small_gpu")
def test_layers_go_before_all() -> None:
    rows = expert_rows(file_with("cpu"), "gpu", 1, ())
    assert [(row.pattern, row.buffer) for row in rows] == [(rf"blk\.(0){EXPERTS}", "CPU"), *GPU]
    [alone] = expert_rows(file_with("cpu"), None, 99, ())
    assert alone.source == "--n-cpu-moe 99"


def test_auto_by_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        load_placement, "devices", lambda: [gpu(10 << 30), gpu(5 << 30, "CUDA1"), cpu()]
    )
    assert fits(12 << 30, ())
    assert not fits(13 << 30, ())
    assert not fits(12 << 30, ("CUDA0",))
    assert fits(1 << 40, ("none",))


def cpu() -> Device:
    return Device("CPU", "", "CPU", "cpu", 1 << 40, 1 << 40)


@pytest.mark.parametrize(("experts", "n_cpu_moe", "named"), [("tpu", 0, "tpu"), (None, -1, "-1")])
def test_values_outside_their_range(experts: str | None, n_cpu_moe: int, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        expert_rows(file_with(None), experts, n_cpu_moe, ())
