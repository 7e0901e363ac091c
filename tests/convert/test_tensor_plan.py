"""Which type each tensor gets: llama.cpp's recipe, and what goes before it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannier.convert.imatrix import ImportanceMatrix
from pannier.convert.options import make_options
from pannier.convert.source import Source
from pannier.convert.tensor_plan import (
    Recipe,
    apply_recipe,
    choose_recipe,
    imatrix_message,
    placed,
)
from pannier.errors import ConvertError
from pannier.placement import Placement
from pannier.quantize import QuantModel

pytestmark = pytest.mark.engine

MODEL = QuantModel("qwen3next", 8, 256, 512, 4, 2, 16, 64, 64)


@pytest.fixture(autouse=True)
def _engine(run: object) -> None:
    """The types come from the engine."""


class Nothing:
    """Numbers that nobody asks for."""

    n_parts = 1

    def parts(self) -> Iterator[Any]:
        raise AssertionError("a plan computes no tensor")


def source(name: str, *shape: int, type: str = "F32") -> Source:
    return Source(name, shape, type, prod(shape) * 4, Nothing())


def sources() -> list[Source]:
    blocks = [
        tensor
        for block in range(8)
        for tensor in (
            source(f"blk.{block}.attn_norm.weight", 256),
            source(f"blk.{block}.attn_v.weight", 256, 128),
            source(f"blk.{block}.ssm_ba.weight", 256, 32),
            source(f"blk.{block}.ssm_dt.bias", 32),
            source(f"blk.{block}.ssm_conv1d.weight", 4, 512),
            source(f"blk.{block}.ssm_out.weight", 256, 256),
            source(f"blk.{block}.ffn_gate_inp.weight", 256, 16),
            source(f"blk.{block}.ffn_up_exps.weight", 256, 512, 16),
            source(f"blk.{block}.ffn_down_exps.weight", 512, 256, 16),
        )
    ]
    return [source("token_embd.weight", 256, 1000), source("output.weight", 256, 1000), *blocks]


def matrix(*but: str, **entries: tuple[int, int]) -> ImportanceMatrix:
    """An importance matrix for all of `sources` but those whose names hold one of `but`; entries:
    the shapes of others, by name with "__" for ".".
    """
    shapes = {
        tensor.name: (tensor.n_matrices, tensor.shape[0])
        for tensor in sources()
        if len(tensor.shape) > 1 and not any(part in tensor.name for part in but)
    }
    shapes |= {name.replace("__", "."): shape for name, shape in entries.items()}
    ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    return ImportanceMatrix(Path("m.gguf"), ones)


def recipe(quant: str, imatrix: ImportanceMatrix | None = None, **options: object) -> Recipe:
    return apply_recipe(quant, sources(), MODEL, make_options(**options), imatrix)


def types(plan: Recipe) -> dict[str, str]:
    return {tensor.name: tensor.type for tensor in plan.tensors}


def test_llama_cpps_recipe() -> None:
    found = types(recipe("Q4_K_M", exact_recipe=True))
    assert found["output.weight"] == "Q6_K"
    assert found["token_embd.weight"] == "Q4_K"
    assert found["blk.0.ffn_up_exps.weight"] == "Q4_K"
    assert found["blk.0.ffn_down_exps.weight"] == "Q6_K"
    assert found["blk.1.ffn_down_exps.weight"] == "Q4_K"
    assert found["blk.0.ssm_ba.weight"] == "Q4_K"
    assert {found[f"blk.0.{name}"] for name in ("attn_norm.weight", "ffn_gate_inp.weight")} == {
        "F32"
    }


def test_gates_and_decays_stay_unless_the_recipe_is_exact() -> None:
    ours, theirs = types(recipe("Q4_K_M")), types(recipe("Q4_K_M", exact_recipe=True))
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert changed == {f"blk.{block}.ssm_ba.weight" for block in range(8)}
    assert ours["blk.0.ssm_ba.weight"] == "F32"
    assert ours["blk.0.ssm_out.weight"] == "Q4_K"


def test_rows_go_before_the_recipe_the_first_one_first() -> None:
    found = types(
        recipe(
            "Q4_K_M",
            tensor_types=["blk.3.ffn_up_exps=Q2_K", "ssm_ba=Q8_0"],
            experts_quant="IQ4_XS",
            output_quant="Q8_0",
        )
    )
    assert found["blk.3.ffn_up_exps.weight"] == "Q2_K"
    assert found["blk.4.ffn_up_exps.weight"] == "IQ4_XS"
    assert found["blk.0.ffn_down_exps.weight"] == "IQ4_XS"
    assert found["blk.0.ssm_ba.weight"] == "Q8_0"
    assert found["output.weight"] == "Q8_0"
    # a row does not reach what llama.cpp never quantises
    assert types(recipe("Q4_K_M", tensor_types=[".=Q8_0"]))["blk.0.attn_norm.weight"] == "F32"


def test_rows_count_for_float_recipes_too() -> None:
    found = types(recipe("BF16", experts_quant="Q4_K"))
    assert found["blk.0.ffn_up_exps.weight"] == "Q4_K"
    assert found["blk.0.attn_v.weight"] == "BF16"


def test_what_is_quantised_in_the_checkpoint_stays() -> None:
    given = [*sources(), source("blk.0.ffn_gate_exps.weight", 256, 512, 16, type="MXFP4")]
    for options, type in (
        ({}, "MXFP4"),
        ({"requantize": True}, "Q4_K"),
        ({"experts_quant": "Q6_K"}, "Q6_K"),
    ):
        plan = apply_recipe("Q4_K_M", given, MODEL, make_options(**options), None)
        assert types(plan)["blk.0.ffn_gate_exps.weight"] == type


def test_importance_matrices() -> None:
    without = recipe("IQ2_XXS")
    assert "blk.0.ffn_up_exps.weight" in without.without_imatrix
    assert not recipe("IQ2_XXS", matrix()).without_imatrix
    assert not recipe("Q4_K_M").without_imatrix


NEEDY = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "Q2_K_S")


@pytest.mark.parametrize("quant", NEEDY)
def test_tensors_that_the_matrix_lacks(quant: str) -> None:
    lacking = recipe(quant, matrix("blk.3.ffn_up_exps", "blk.5.ffn_up_exps"))
    assert lacking.without_imatrix == [f"blk.{n}.ffn_up_exps.weight" for n in (3, 5)]
    # as llama-quantize, which never measures the two
    assert not recipe(quant, matrix("token_embd", "output")).without_imatrix
    # nor asks where it does not quantise below three bits
    assert not recipe(
        quant, matrix("ffn_up_exps"), tensor_types=["ffn_up_exps=Q4_K"]
    ).without_imatrix


@pytest.mark.parametrize("type", NEEDY[:-1])
def test_rows_over_a_float_recipe_need_the_matrix_too(type: str) -> None:
    for imatrix in (None, matrix("ffn_up_exps")):
        plan = recipe("BF16", imatrix, tensor_types=[f"blk.2.ffn_up_exps={type}"])
        assert plan.without_imatrix == ["blk.2.ffn_up_exps.weight"]
    assert not recipe("BF16", matrix(), experts_quant=type).without_imatrix


@pytest.mark.parametrize("shape", [(15, 256), (16, 128), (1, 256)], ids=str)
def test_entries_that_do_not_fit(shape: tuple[int, int]) -> None:
    other = matrix(blk__1__ffn_up_exps__weight=shape)
    named = rf"another model: it has {shape[0]} x {shape[1]} values for blk\.1\..* takes 16 x 256"
    with pytest.raises(ConvertError, match=named):
        recipe("Q4_K_M", other)
    assert not recipe("BF16", other).without_imatrix  # which looks at no importance


def test_entries_that_llama_quantize_takes_or_passes_over() -> None:
    flat = matrix(blk__1__ffn_up_exps__weight=(1, 16 * 256), token_embd__weight=(1, 3))
    assert not recipe("IQ2_S", flat).without_imatrix


def test_the_message_names_tensors_what_there_is_and_what_to_do() -> None:
    lacking = recipe("IQ2_S", matrix("ffn_up_exps"))
    message = imatrix_message(lacking, matrix("ffn_up_exps"))
    for part in (
        "IQ2_S needs the importance of 8 tensors (blk.0.ffn_up_exps.weight, blk.1.",
        "m.gguf does not have: it has 50 (",
        "--tensor-type",
    ):
        assert part in message
    assert "--imatrix" in imatrix_message(recipe("IQ2_S"), None)


def test_the_sizes_are_those_of_the_types() -> None:
    by_name = {tensor.name: tensor for tensor in recipe("Q4_K_M").tensors}
    assert by_name["blk.0.ffn_up_exps.weight"].n_bytes == 256 * 512 * 16 // 256 * 144
    assert by_name["blk.0.attn_norm.weight"].n_bytes == 1024


def fitted(n_bytes: int, imatrix: ImportanceMatrix | None = None) -> Recipe:
    options = make_options(target_size=n_bytes)
    return choose_recipe(sources(), MODEL, options, "BF16", imatrix, 1000)


def test_the_best_recipe_that_fits() -> None:
    sizes = {quant: recipe(quant).n_bytes + 1000 for quant in ("BF16", "Q6_K", "Q4_K_M")}
    for quant, size in sizes.items():
        assert fitted(size).quant == quant
        assert fitted(size - 1).n_bytes < size - 1000
    assert fitted(1 << 40).quant == "BF16"


def test_small_recipes_only_with_an_importance_matrix() -> None:
    size = recipe("IQ2_XXS", matrix()).n_bytes + 1000
    assert fitted(size, matrix()).quant == "IQ2_XXS"
    with pytest.raises(ConvertError, match=r"no recipe fits .*smallest, Q2_K, .* with --imatrix"):
        fitted(size)
    with pytest.raises(ConvertError, match=r"no recipe fits .*m\.gguf does not have: it has"):
        fitted(size, matrix("ffn_up_exps"))


def test_rows_that_match_nothing() -> None:
    for options, named in (
        ({"tensor_types": ["ffn_dwn_exps=Q8_0"]}, "ffn_dwn_exps=Q8_0 matches no tensor; nearest"),
        ({"tensor_types": ["zzzz=Q8_0"]}, "matches no tensor; --dry-run lists them"),
    ):
        with pytest.raises(ConvertError, match=named):
            choose_recipe(sources(), MODEL, make_options(**options), "BF16", None, 0)
    with pytest.raises(ConvertError, match="no routed experts"):
        options = make_options(experts_quant="Q8_0")
        choose_recipe(sources()[:2], MODEL, options, "BF16", None, 0)


def test_what_goes_to_the_gpu_comes_first() -> None:
    plans = recipe("Q8_0").tensors
    placement = Placement.of_experts("cpu", [(plan.name, plan.n_bytes) for plan in plans])
    ordered = placed(plans, placement)
    devices = [plan.device for plan in ordered]
    assert devices == sorted(devices, key=["gpu", "input", "cpu"].index)
    for device in ("gpu", "cpu"):
        kept = [plan.name for plan in plans if placement.device_of(plan.name) == device]
        assert [plan.name for plan in ordered if plan.device == device] == kept
