"""Words that say where experts go, and what is wrong with them."""

from __future__ import annotations

import re

import pytest

from pannier.errors import ArgumentError
from pannier.expert_words import expert_layers, parse_experts
from pannier.layer_ranges import layers_pattern, layers_text, ranges_text, read_layers
from pannier.placement import EXPERTS, Placement

LAYERS = range(2, 8)
"""As of a model whose first two layers are dense."""


@pytest.mark.parametrize(
    ("text", "on_cpu"),
    [
        ("cpu", {2, 3, 4, 5, 6, 7}),
        ("gpu", set()),
        ("cpu:2-4", {2, 3, 4}),
        ("cpu:2,7", {2, 7}),
        ("cpu: 2 - 3 , 7", {2, 3, 7}),
        ("gpu:2-4", {5, 6, 7}),
        ("cpu:2-4|gpu:5-7", {2, 3, 4}),
        ("cpu:2|cpu:4", {2, 4}),
        ("cpu|gpu:4-7", {2, 3}),
        ("gpu|cpu:3", {3}),
        ("cpu:2-4|gpu:7|gpu", {2, 3, 4}),
    ],
)
def test_which_layers_are_in_cpu_memory(text: str, on_cpu: set[int]) -> None:
    devices = parse_experts(text).by_layer(LAYERS)
    assert devices["cpu"] == on_cpu
    assert devices["gpu"] == set(LAYERS) - on_cpu


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tpu", "it must be cpu, gpu, auto, cpu:0-23"),
        ("", "it must be cpu"),
        ("auto:2-3", "'auto:2-3'"),
        ("auto|cpu:2", "'auto'"),
        ("cpu:", "'' is no layer"),
        ("cpu:7-3", "'7-3' is no layer"),
        ("cpu:-3", "'-3' is no layer"),
        ("cpu:2-512", "up to 511"),
        ("cpu:2;3", "'2;3'"),
        ("cpu|gpu", "all others go to cpu and to gpu"),
        ("cpu:2-5|gpu:4-7", r"layers 4-5 in cpu:2-5 and in gpu:4-7"),
    ],
)
def test_what_they_may_not_be(text: str, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        parse_experts(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cpu:0-3", "experts cpu:0-3: layers 0-1 .* have no routed experts; .* in layers 2-7"),
        ("gpu:8", "layer 8 of this model has no routed experts"),
        ("cpu:2-3|gpu:7", "layers 4-6 have experts and no row"),
    ],
)
def test_what_does_not_fit_the_model(text: str, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        parse_experts(text).by_layer(LAYERS)
    with pytest.raises(ArgumentError, match="no layer has: leave it out"):
        parse_experts("cpu:0").by_layer(())


@pytest.mark.parametrize(
    "layers", [{0}, {9, 10}, set(range(24)), {0, 2, 4, 11, 13}, set(range(95, 106)), {511}]
)
def test_a_pattern_matches_these_layers_and_no_other(layers: set[int]) -> None:
    pattern = layers_pattern(layers)
    names = [f"blk.{i}.ffn_up_exps.weight" for i in range(512)]
    assert {i for i, name in enumerate(names) if re.search(pattern + EXPERTS, name)} == layers
    assert read_layers(ranges_text(layers)) == layers


def test_layers_in_words() -> None:
    assert layers_text([3]) == "layer 3"
    assert layers_text([0, 1, 2, 7]) == "layers 0-2, 7"


def test_a_file_carries_layers() -> None:
    names = [f"blk.{i}.ffn_{part}_exps.weight" for i in LAYERS for part in ("up", "down")]
    assert expert_layers(names, EXPERTS) == tuple(LAYERS)
    tensors = [(name, 10) for name in names] + [("blk.0.ffn_up.weight", 3)]
    placement = Placement.of_experts("cpu:2-4", tensors)
    assert [(row.device, row.n_bytes) for row in placement.rows] == [
        ("cpu", 60),
        ("gpu", 60),
        ("gpu", 3),
    ]
    assert Placement.from_metadata(placement.to_metadata()) == placement
    [(pattern, buffer)] = placement.overrides("gpu")
    assert buffer == "CPU"
    assert sum(bool(re.search(pattern, name)) for name in names) == 6
    with pytest.raises(ArgumentError, match=r"layers 0-1 .* no routed experts"):
        Placement.of_experts("cpu:0-4", tensors)
