"""What is said of a report: each kind of thing once, with its layers, the reason and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from pannier.errors import PlacementError
from pannier.op_placement import (
    Asked,
    GraphPlacement,
    MisplacedOp,
    MisplacedWeight,
    OpSource,
    PlacementReport,
    UsedOverride,
)


def source(type: str = "f32", *shape: int) -> OpSource:
    return OpSource(type, shape or (8,))


def op(layer: int = 0, name: str = "SOFT_MAX", **more: Any) -> MisplacedOp:
    values = {"device": "CPU", "planned": "GPU0", "is_lacking": True, "weight": ""} | more
    sources = values.pop("sources", (source(),))
    return MisplacedOp(name=f"x-{layer}", op=name, layer=layer, sources=sources, **values)


def graph(*ops: MisplacedOp, name: str = "decode") -> GraphPlacement:
    return GraphPlacement(name, 1, 1, 1, {}, (), ops)


def report(*graphs: GraphPlacement, n_named: int = 0, **more: Any) -> PlacementReport:
    values: dict[str, Any] = {"weights": (), "overrides": (), "cache_types": {}}
    return PlacementReport(
        graphs=graphs, flash_attn=True, asked=Asked("f16", "f16", n_named), **values | more
    )


def said(*graphs: GraphPlacement, **more: Any) -> list[str]:
    return [str(problem) for problem in report(*graphs, **more).problems]


def test_an_op_is_named_once_with_all_its_layers() -> None:
    ops = [op(layer) for layer in (4, 0, 1, 2)]
    assert said(graph(*ops), graph(*ops[:2], name="prompt")) == [
        "SOFT_MAX of layers 0-2, 4 would run on CPU instead of GPU0: GPU0 cannot compute it of "
        "f32 [8]; keep these layers in system memory, -ot 'blk\\.(0|1|2|4)\\.=CPU', or use "
        "another --backend"
    ]
    assert said(graph(op(3)))[0].startswith("SOFT_MAX of layer 3 would")
    assert said(graph(op(-1)))[0].startswith("SOFT_MAX would")
    assert "; use another --backend" in said(graph(op(-1)))[0]
    assert len(said(graph(op(), op(name="TOP_K"), op(planned="GPU1")))) == 3


def test_what_is_a_matter_of_size_is_told_apart() -> None:
    prompt = graph(op(), name="prompt")
    assert "when computing prompts" in said(graph(), prompt)[0]
    assert "a smaller -ub or -c" in said(graph(), prompt)[0]
    assert "when computing prompts" not in said(prompt)[0], "a context that embeds has only these"


def test_an_op_among_others_that_are_elsewhere() -> None:
    assert "what comes before and after it runs there" in said(graph(op(is_lacking=False)))[0]


def attention(keys: str, values: str) -> MisplacedOp:
    sources = (source(), source(keys, 64, 512, 2), source(values, 64, 512, 2), source("f16", 512))
    return op(name="FLASH_ATTN_EXT", sources=sources)


@pytest.mark.parametrize(
    ("keys", "values", "remedy"),
    [
        ("q8_0", "q8_0", "take -ctk f16 -ctv f16 -fa off"),
        ("f16", "f16", "take -fa off"),
        ("bf16", "q8_0", "give both one type, as -ctk bf16 -ctv bf16, or take -ctk f16 -ctv f16"),
        ("bf16", "f16", "give both one type, as -ctk bf16 -ctv bf16, or take -fa off"),
    ],
)
def test_attention(keys: str, values: str, remedy: str) -> None:
    [problem] = report(graph(attention(keys, values))).problems
    assert problem.reason == (
        f"GPU0 has no flash attention for keys in {keys} and values in {values}, heads of 64 and "
        "64, 512 cells"
    )
    assert problem.remedy.startswith(remedy)


def weight(name: str) -> MisplacedWeight:
    return MisplacedWeight(name, "f32", (4,), "CPU", "GPU0", 16)


def test_weights_are_told_with_their_op_and_else_by_themselves() -> None:
    names = [f"blk.{i}.ssm_a" for i in (0, 10, 2)]
    ops = [op(i, "SSM_SCAN", weight=name) for i, name in zip((0, 10, 2), names, strict=True)]
    [one] = said(graph(*ops), weights=tuple(map(weight, names)))
    assert "GPU0 cannot compute with blk.0.ssm_a, f32 [4] of 16 bytes; say" in one
    assert r"-ot 'blk\.(0|10|2)\.ssm_a=CPU'" in one
    [one] = said(graph(), weights=(weight("output.weight"),))
    assert one.startswith("output.weight would be in CPU memory instead of GPU0's: GPU0 cannot")
    assert r"-ot '^output\.weight=CPU'" in one
    [one] = said(graph(), weights=tuple(map(weight, names)))
    assert one.startswith("blk.0.ssm_a and 2 like it would be")


def used(pattern: str, n_matching: int, n_taken: int) -> UsedOverride:
    return UsedOverride(pattern, "CPU", n_matching, n_taken)


def test_overrides_without_effect() -> None:
    rows = (used("a", 2, 2), used("b", 0, 0), used("aa", 1, 0))
    assert said(graph(), overrides=rows, n_named=3) == [
        "the tensor override b=CPU has no effect: no tensor of this model has a name that it "
        "matches; leave it out, or see `pannier inspect --tensors FILE` for the names",
        "the tensor override aa=CPU has no effect: all that it matches is taken by those before "
        "it; leave it out, or see `pannier inspect --tensors FILE` for the names",
    ]


def test_a_flag_about_experts_needs_no_tensor_of_its_own() -> None:
    """That -ot came before it is no mistake, if both mean the same."""
    assert said(graph(), overrides=(used("exps", 2, 2), used("exp", 2, 0)), n_named=1) == []
    assert len(said(graph(), overrides=(used("exps", 0, 0),))) == 1


def test_a_changed_cache_type() -> None:
    assert said(graph(), cache_types={"k": "f16", "v": "f32"}) == [
        "the KV cache's V rows are in f32 instead of f16: llama.cpp changed the type; take -ctv f32"
    ]


def test_a_check_raises_with_all_problems() -> None:
    report(graph()).check()
    with pytest.raises(PlacementError, match=r"SOFT_MAX of layer 0 .*; and TOP_K of layer 1 "):
        report(graph(op(), op(1, "TOP_K"))).check()
