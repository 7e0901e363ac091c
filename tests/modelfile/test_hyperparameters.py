"""Sizes that llama.cpp asserts on, divides by or allocates by: one crafted file each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pannier.modelfile.bounds import BOUNDS

from .conftest import Refused, tiny
from .gguf_bytes import Gguf

NAN, INFINITY = float("nan"), float("inf")
SPOILED: list[tuple[str, str, str, Any, str]] = [
    ("qwen3next", "block_count", "u32", 513, "1 to 512"),
    ("qwen3next", "block_count", "u32", 0, "1 to 512"),
    ("qwen3next", "block_count", "arr[u32]", [4, 4], "one number"),
    ("qwen3next", "embedding_length", "u32", 0, "1 to"),
    ("qwen3next", "context_length", "u32", 2**32 - 1, "1 to"),
    ("qwen3next", "vocab_size", "u32", 2**32 - 1, "0 to"),
    ("qwen3next", "attention.head_count", "u32", 2**31, "0 to"),
    ("qwen3next", "attention.head_count", "arr[i32]", [2, 2, 2, -2], "0 to"),
    ("qwen3next", "attention.head_count", "arr[u32]", [2] * 513, "at most 512 elements"),
    ("qwen3next", "attention.head_count_kv", "u32", 3, "a multiple of head_count_kv"),
    ("qwen3next", "attention.head_count_kv", "arr[i32]", [2, 0, 0, 2], "1 or more for each layer"),
    ("qwen3next", "attention.key_length", "u32", 0, "1 to"),
    ("qwen3next", "attention.value_length", "u32", 32, "key_length"),
    ("qwen3next", "rope.dimension_count", "u32", 17, "even"),
    ("qwen3next", "rope.dimension_count", "u32", 128, "at most the head's length"),
    ("qwen3next", "rope.dimension_count", "u32", 0, "even and at most"),
    ("qwen3next", "rope.dimension_count_swa", "u32", 0, "even and at most"),
    ("llama", "rope.dimension_count", "u32", 32, "the head's length"),
    ("qwen3next", "rope.dimension_sections", "arr[i32]", [1, 1, 1, 1, 1], "at most four"),
    ("qwen3next", "rope.dimension_sections", "arr[i32]", [0, 0, 0, 0], "not all 0"),
    ("qwen3next", "rope.dimension_sections", "arr[i32]", [30, 30, 5, 0], "64, together"),
    ("qwen3next", "rope.scaling.type", "str", b"spiral", "one of none, linear"),
    ("qwen3next", "classifier.activation", "str", b"relu6", "one of gelu"),
    ("qwen3next", "expert_count", "u32", 1025, "0 to 1024"),
    ("qwen3next", "expert_used_count", "u32", 9, "at most expert_count, 8"),
    ("qwen3next", "expert_used_count", "u32", 0, "at least 1"),
    ("qwen3next", "expert_used_count", "arr[i32]", [1, 0, 0, 0], "1 or more for each layer"),
    ("qwen3next", "expert_used_count", "arr[bool]", [True, True, True, True], "not booleans"),
    ("qwen3next", "expert_count", "u32", 0, "expert_used_count"),
    ("qwen3next", "expert_group_count", "u32", 8, "less than expert_count"),
    ("qwen3next", "expert_group_count", "u32", 3, "divide it"),
    ("qwen3next", "expert_group_count", "u32", 4, "expert_group_used_count is None"),
    ("qwen3next", "expert_gating_func", "u32", 5, "0 to 4"),
    ("qwen3next", "full_attention_interval", "u32", 0, "1 to"),
    ("qwen3next", "nextn_predict_layers", "u32", 5, "at most block_count"),
    ("qwen3next", "decoder_block_count", "u32", 5, "at most block_count"),
    ("qwen3next", "attention.shared_kv_layers", "u32", 4, "two less"),
    ("qwen3next", "num_loops", "u32", 512, "block_count"),
    ("qwen3next", "pooling_type", "u32", 99, "0 to 4"),
    ("qwen3next", "ssm.time_step_rank", "u32", 0, "1 to"),
    ("qwen3next", "ssm.time_step_rank", "u32", 3, "multiple of time_step_rank"),
    ("qwen3next", "ssm.group_count", "u32", 3, "a divisor of"),
    ("qwen3next", "ssm.state_size", "u32", 0, "1 to"),
    ("qwen3next", "ssm.inner_size", "u32", 128, "state_size times time_step_rank"),
    ("qwen3next", "ssm.conv_kernel", "u32", 2**32 - 1, "1 to"),
    ("qwen3next", "wkv.head_size", "u32", 5, "divisor of embedding_length"),
    ("qwen3next", "attention.layer_norm_rms_epsilon", "f32", -1.0, "0 or more"),
    ("qwen3next", "attention.layer_norm_rms_epsilon", "f32", NAN, "finite"),
    ("qwen3next", "rope.freq_base", "f32", INFINITY, "finite"),
    ("qwen3next", "attention.value_length_mla", "u32", 64, "only then"),
    ("gemma3", "attention.sliding_window_pattern", "u32", 1, "0, or 2 and more"),
    ("gemma3", "attention.sliding_window_pattern", "arr[bool]", [False] * 6, "true for some"),
]


@pytest.mark.parametrize(
    ("model", "name", "type", "value", "match"), SPOILED, ids=lambda value: str(value)[:40]
)
def test_refuses(
    model: str, name: str, type: str, value: Any, match: str, refused: Refused
) -> None:
    file = tiny(model).set(f"{model}.{name}", type, value)
    refused(file, match)


@pytest.mark.parametrize("name", BOUNDS)
def test_refuses_what_is_out_of_bounds(name: str, refused: Refused) -> None:
    least, most = BOUNDS[name]
    refused(tiny().set(f"qwen3next.{name}", "u64", most + 1), f"{name} is {most + 1}; it must be")
    if least:
        refused(tiny().set(f"qwen3next.{name}", "arr[u32]", [least - 1]), f"{name} is ")


@pytest.mark.parametrize("architecture", [b"clip", b"dflash", b"eagle3", b""])
def test_refuses_what_is_no_model(architecture: bytes, refused: Refused) -> None:
    refused(tiny().set("general.architecture", "str", architecture), "architecture")


def test_refuses_an_architecture_that_is_no_word(refused: Refused) -> None:
    refused(tiny().set("general.architecture", "u32", 1), "architecture is 1")
    refused(tiny().drop("general.architecture"), "architecture is None")


def of_architecture(name: str, **values: int) -> Gguf:
    """A dense model's keys under another architecture's name."""
    file = tiny("llama")
    for key in file.keys:
        key.name = key.name.replace(b"llama.", name.encode() + b".")
    file.set("general.architecture", "str", name.encode())
    for key, value in values.items():
        file.set(f"{name}.{key.replace('__', '.')}", "u32", value)
    return file


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: of_architecture("deepseek4", hyper_connection__count=2), "it must be 4"),
        (lambda: of_architecture("ernie4_5-moe"), "interleave_moe_layer_step"),
        (lambda: of_architecture("hrm_text", hrm__h_cycles=3), "cycles"),
        (
            lambda: of_architecture("qwen35moe", rope__dimension_count=0).set(
                "qwen35moe.rope.dimension_sections", "arr[i32]", [11, 11, 10, 0]
            ),
            "even and at most the head's length",
        ),
        (lambda: of_architecture("granitehybrid", ssm__inner_size=32), "twice embedding_length"),
        (lambda: of_architecture("deepseek2"), "less than the head's length"),
        (
            lambda: of_architecture(
                "kimi-linear",
                rope__dimension_count=16,
                attention__head_count_kv=1,
                attention__key_length_mla=64,
                attention__value_length_mla=64,
                attention__kv_lora_rank=64,
            ),
            "key_length is .*; it must be 80, by kv_lora_rank",
        ),
    ],
    ids=["deepseek4", "ernie", "hrm", "mrope", "granite", "deepseek2", "kimi"],
)
def test_refuses_for_an_architecture(
    make: Callable[[], Gguf], match: str, refused: Refused
) -> None:
    refused(make(), match)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tiny().set("qwen3next.nextn_predict_layers", "u32", 4),  # a file of drafts only
        lambda: tiny().set("qwen3next.attention.head_count", "arr[u32]", [2, 2, 2, 2]),
        lambda: tiny().set("qwen3next.expert_group_count", "u32", 1),
        lambda: tiny().set("qwen3next.expert_used_count", "arr[u32]", [2, 2, 2, 1]),
        lambda: tiny("gemma3").set("gemma3.attention.sliding_window_pattern", "u32", 3),
        lambda: of_architecture("mamba2", attention__head_count=0, ssm__inner_size=64),
    ],
    ids=["drafts", "heads by layer", "one group", "experts by layer", "pattern", "no heads"],
)
def test_accepts(make: Callable[[], Gguf], accepted: Callable[[Gguf], None]) -> None:
    accepted(make())
