"""Placement as files carry it, and what a file may not say."""

from __future__ import annotations

from typing import Any

import pytest

from pannier.errors import ModelError
from pannier.placement import EXPERTS, INPUT, PREFIX, REST, Placement, PlacementRow
from pannier.roles import role_of

TENSORS = [("token_embd.weight", 10), ("blk.0.ffn_up_exps.weight", 70), ("blk.0.attn_q.weight", 5)]


def test_it_survives_the_metadata() -> None:
    placement = Placement.of_experts("cpu", TENSORS)
    assert placement.rows == (
        PlacementRow(EXPERTS, "cpu", 70),
        PlacementRow(INPUT, "input", 10),
        PlacementRow(REST, "gpu", 5),
    )
    assert Placement.from_metadata(placement.to_metadata()) == placement
    assert Placement.from_metadata({"general.name": "x"}) is None


def test_a_dense_model_has_no_row_for_experts() -> None:
    placement = Placement.of_experts("cpu", [("blk.0.ffn_up.weight", 3)])
    assert placement.rows == (PlacementRow(REST, "gpu", 3),)
    assert placement.overrides("cpu") == []


def test_overrides_follow_the_devices() -> None:
    assert Placement.of_experts("cpu", TENSORS).overrides("gpu") == [(EXPERTS, "CPU")]
    assert Placement.of_experts("gpu", TENSORS).overrides("cpu") == []
    auto = Placement.of_experts("auto", TENSORS)
    assert (auto.overrides("cpu"), auto.overrides("gpu")) == ([(EXPERTS, "CPU")], [])
    assert auto.device_of("blk.3.ffn_gate_exps.weight") == "auto"
    assert auto.bytes_on("gpu") == 5


def test_tied_embeddings_are_copied_to_the_gpu() -> None:
    tied = Placement.of_experts("cpu", TENSORS, tied=True)
    assert (tied.bytes_on("input"), tied.bytes_on("gpu")) == (10, 15)


def rows(**changed: Any) -> dict[str, Any]:
    """Metadata of one row, changed."""
    whole = {"version": 1, "patterns": ["exps"], "devices": ["cpu"], "bytes": [1]} | changed
    return {PREFIX + key: value for key, value in whole.items()}


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        (rows(version=2), "version is 2"),
        (rows(patterns="exps"), "must be arrays"),
        (rows(bytes=[1, 2]), "as many each"),
        (rows(patterns=["(a*)*b"]), r"\(a\*\)\*b"),
        (rows(patterns=["x{9999}"]), "without repetitions"),
        (rows(patterns=["("]), "missing"),
        (rows(patterns=["a" * 1100]), "aaa"),
        (rows(devices=["tpu"]), "tpu"),
        (rows(bytes=[-1]), "-1"),
        (rows(patterns=["a"] * 2000, devices=["cpu"] * 2000, bytes=[0] * 2000), "1024 at most"),
    ],
)
def test_what_a_file_may_not_say(metadata: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        Placement.from_metadata(metadata)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("blk.0.ffn_gate_up_exps.weight", "experts"),
        ("blk.0.ffn_up_shexp.weight", "ffn"),
        ("blk.0.ffn_gate_inp.weight", "ffn"),
        ("blk.0.attn_qkv.weight", "attention"),
        ("blk.0.attn_q_norm.weight", "norm"),
        ("blk.0.ssm_conv1d.weight", "recurrent"),
        ("blk.0.shortconv.conv.weight", "recurrent"),
        ("token_embd.weight", "embedding"),
        ("output.weight", "output"),
        ("output_norm.weight", "norm"),
        ("rope_freqs.weight", "other"),
    ],
)
def test_roles(name: str, role: str) -> None:
    assert role_of(name) == role
