"""Rules for a model's sizes in a file's metadata, by key, for all architectures alike.

llama.cpp asserts on many of them (`llama-model.cpp`, `llama-hparams.cpp`, `models/*.cpp`), divides
by others and allocates by the rest. A value outside these bounds is in no real file. What ties a
size to the shape of a tensor is left to llama.cpp, which refuses with a message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from .architectures import (
    DOUBLE_WIDTH,
    HEADS_OF_STATE,
    LATENT,
    NO_MODEL,
    SOME_WITHOUT_EXPERTS,
    SQUARE_STATE,
    UNEQUAL_HEADS,
    WHOLE_ROPE,
    WITHOUT_ATTENTION,
)
from .arrays import NumberArray, StringArray
from .bounds import BOUNDS, MAX_LAYERS
from .reader import refuse

ROPE_SCALING = ("none", "linear", "yarn", "longrope")
CLASSIFIER_ACTIVATIONS = ("gelu", "silu", "tanh")


def check_hyperparameters(path: Path, metadata: Mapping[str, object]) -> None:
    """Refuse sizes that llama.cpp asserts on, divides by, or allocates by. Raises ModelError."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        refuse(path, f"general.architecture is {architecture!r}; it must name an architecture")
    if architecture in NO_MODEL:
        refuse(path, f"the architecture is {architecture}: {NO_MODEL[architecture]}", "load that")
    rules = _Rules(path, metadata, architecture)
    rules.check_bounds()
    rules.check_numbers()
    rules.check_words()
    rules.check_layers()
    rules.check_heads()
    rules.check_latent()
    rules.check_windows()
    rules.check_rope()
    rules.check_experts()
    rules.check_state()


class _Rules:
    def __init__(self, path: Path, metadata: Mapping[str, object], architecture: str) -> None:
        self.path = path
        self.architecture = architecture
        self.metadata = metadata

    def key(self, name: str) -> str:
        return f"{self.architecture}.{name}"

    def refuse(self, name: str, must: str) -> NoReturn:
        value = self.metadata.get(self.key(name))
        shown = list(value[:8]) if isinstance(value, (NumberArray, StringArray)) else value
        refuse(self.path, f"{self.key(name)} is {shown!r}; it must be {must}")

    def number(self, name: str, default: int = 0) -> int:
        """A number, the first one of an array, or the default."""
        values = self.numbers(name)
        return values[0] if values else default

    def numbers(self, name: str) -> list[int]:
        """The elements of an array, one number, or nothing."""
        value = self.metadata.get(self.key(name))
        if isinstance(value, NumberArray):
            return [int(element) for element in value if not isinstance(element, float)]
        return [value] if isinstance(value, int) else []

    def per_layer(self, name: str, default: list[int]) -> list[int]:
        """One number for each layer."""
        values = self.numbers(name) or default
        return values * self.number("block_count", 1) if len(values) == 1 else values

    def head_length(self, name: str) -> int:
        """Elements of one head's "key" or "value"; 0 without heads."""
        heads = self.number("attention.head_count")
        default = self.number("embedding_length", 1) // heads if heads else 0
        return self.number(f"attention.{name}_length", default)

    def check_bounds(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = self.metadata.get(self.key(name))
            if isinstance(value, NumberArray) and len(value) > MAX_LAYERS:
                self.refuse(name, f"an array of at most {MAX_LAYERS} elements")
            if isinstance(value, NumberArray) and any(isinstance(e, bool) for e in value[:1]):
                self.refuse(name, "numbers, not booleans")
            for element in self.numbers(name):
                if not least <= element <= most:
                    self.refuse(name, f"{least} to {most}")
        for name in ("block_count", "embedding_length", "context_length"):
            if isinstance(self.metadata.get(self.key(name)), NumberArray):
                self.refuse(name, "one number")

    def check_numbers(self) -> None:
        """No NaN and no infinity; an epsilon is not negative."""
        prefix = self.key("")
        for key, value in self.metadata.items():
            if not isinstance(value, float) or not key.startswith(prefix):
                continue
            name = key.removeprefix(prefix)
            if not math.isfinite(value):
                self.refuse(name, "a finite number")
            if name.endswith("epsilon") and value < 0:
                self.refuse(name, "0 or more")

    def check_words(self) -> None:
        for name, words in (
            ("rope.scaling.type", ROPE_SCALING),
            ("classifier.activation", CLASSIFIER_ACTIVATIONS),
        ):
            value = self.metadata.get(self.key(name))
            if isinstance(value, str) and value not in words:
                self.refuse(name, f"one of {', '.join(words)}")

    def check_layers(self) -> None:
        """Numbers of layers that are a part of all layers."""
        n = self.number("block_count", 1)
        if self.number("nextn_predict_layers") > n:
            self.refuse("nextn_predict_layers", f"at most block_count, {n}")
        for name in ("decoder_block_count", "posnet.block_count", "convnext.block_count"):
            if self.number(name) > n:
                self.refuse(name, f"at most block_count, {n}")
        if self.number("attention.shared_kv_layers") > max(0, n - 2):
            self.refuse("attention.shared_kv_layers", f"at most {n - 2}, two less than block_count")
        if self.number("num_loops", 1) * n > MAX_LAYERS:
            self.refuse("num_loops", f"at most {MAX_LAYERS} / block_count")
        self._check_exact("hyper_connection.count", 4, ("deepseek4", "glm5-next"))
        if self.architecture == "ernie4_5-moe" and not self.number("interleave_moe_layer_step"):
            self.refuse("interleave_moe_layer_step", "1 or more")
        if self.architecture == "hrm_text":
            cycles = self.number("hrm.h_cycles", 1) * (self.number("hrm.l_cycles", 1) + 1)
            if self.number("hrm.layers_per_stack", 1) * cycles != n:
                self.refuse("hrm.layers_per_stack", f"{n} / {cycles}, by block_count and cycles")

    def _check_exact(self, name: str, value: int, architectures: tuple[str, ...]) -> None:
        if self.architecture in architectures and self.number(name, value) != value:
            self.refuse(name, str(value))

    def check_heads(self) -> None:
        heads = self.per_layer("attention.head_count", [0])
        shared = self.per_layer("attention.head_count_kv", heads)
        for n, n_kv in zip(heads, shared, strict=False):
            if n_kv and n % n_kv:
                self.refuse("attention.head_count", f"a multiple of head_count_kv, {n_kv}")
            if n and not n_kv and self.architecture not in WITHOUT_ATTENTION:
                self.refuse("attention.head_count_kv", "1 or more for each layer")
        if not heads[0]:
            return
        key, value = self.head_length("key"), self.head_length("value")
        if not key or not value:
            self.refuse("attention.head_count", "at most embedding_length, without a key_length")
        if key != value and self.architecture not in UNEQUAL_HEADS:
            self.refuse("attention.value_length", f"key_length, {key}")
        swa = self.number("attention.key_length_swa", key)
        swa_value = self.number("attention.value_length_swa", value)
        if swa != swa_value and self.architecture not in UNEQUAL_HEADS:
            self.refuse("attention.value_length_swa", f"key_length_swa, {swa}")

    def check_latent(self) -> None:
        """Latent attention (MLA): a cell holds the latent vector and the rotated part."""
        rotated = self.number("rope.dimension_count")
        key, value = (self.number(f"attention.{name}_length_mla") for name in ("key", "value"))
        if bool(key) != bool(value):
            self.refuse("attention.value_length_mla", "there if key_length_mla is, and only then")
        if self.architecture not in LATENT:
            return
        whole = key or self.number("attention.key_length")
        if whole and rotated >= whole:
            self.refuse("rope.dimension_count", f"less than the head's length, {whole}")
        latent = self.number("attention.kv_lora_rank")
        if key and latent and max(self.numbers("attention.head_count_kv"), default=0) == 1:
            for name, length in (("key", latent + rotated), ("value", latent)):
                if self.head_length(name) != length:
                    self.refuse(f"attention.{name}_length", f"{length}, by kv_lora_rank and rope")

    def check_windows(self) -> None:
        """A sliding window is for some layers, or llama.cpp asserts that there is one."""
        name = "attention.sliding_window_pattern"
        value = self.metadata.get(self.key(name))
        if not self.number("attention.sliding_window"):
            return
        if isinstance(value, NumberArray) and not any(value[: self.number("block_count", 1)]):
            self.refuse(name, "true for some layer")
        if isinstance(value, int) and not isinstance(value, bool) and value == 1:
            self.refuse(name, "0, or 2 and more")

    def check_rope(self) -> None:
        heads = self.number("attention.head_count")
        if not heads:
            return
        key = self.head_length("key")
        n = self.number("rope.dimension_count", key)
        if n > key or n % 2 or not n:  # with 0, computing positions does not end
            self.refuse("rope.dimension_count", f"even and at most the head's length, {key}")
        if n != key and self.architecture in WHOLE_ROPE:
            self.refuse("rope.dimension_count", f"the head's length, {key}")
        swa = self.number("rope.dimension_count_swa", n)
        if swa > self.number("attention.key_length_swa", key) or swa % 2 or not swa:
            self.refuse("rope.dimension_count_swa", "even and at most the head's length")
        sections = self.numbers("rope.dimension_sections")
        if sections and (len(sections) > 4 or not any(sections[:3])):
            self.refuse("rope.dimension_sections", "at most four numbers, not all 0")
        if sum(sections) > key:
            self.refuse("rope.dimension_sections", f"at most the head's length, {key}, together")

    def check_experts(self) -> None:
        """Routed experts: used of them, in groups (`llama_model_base::load_hparams`)."""
        n = self.number("expert_count")
        by_layer = self.numbers("expert_used_count")
        used = max(by_layer, default=0)
        if n <= 1 and self.architecture in ("hunyuan-dense", "hunyuan_vl"):
            return
        if used > n or bool(used) != bool(n):
            self.refuse("expert_used_count", f"at least 1 and at most expert_count, {n}, or both 0")
        if used and not all(by_layer) and self.architecture not in SOME_WITHOUT_EXPERTS:
            self.refuse("expert_used_count", "1 or more for each layer")
        groups = self.number("expert_group_count")
        if groups and (groups >= n or n % groups):
            self.refuse("expert_group_count", f"less than expert_count, {n}, and divide it")
        if groups > 1 and not 0 < self.number("expert_group_used_count") < groups:
            self.refuse("expert_group_used_count", f"1 to {groups - 1}")

    def check_state(self) -> None:
        """Recurrent layers: heads divide the state."""
        inner, heads = self.number("ssm.inner_size"), self.number("ssm.time_step_rank")
        groups = self.number("ssm.group_count")
        if self.architecture in HEADS_OF_STATE and inner and heads:
            if inner % heads:
                self.refuse("ssm.inner_size", f"a multiple of time_step_rank, {heads}")
            if groups and (heads % groups or inner % groups):
                self.refuse("ssm.group_count", f"a divisor of {heads} heads and {inner} channels")
        state = self.number("ssm.state_size")
        if self.architecture in SQUARE_STATE and inner != state * heads:
            self.refuse("ssm.inner_size", f"state_size times time_step_rank, {state * heads}")
        width = self.number("embedding_length")
        if self.architecture in DOUBLE_WIDTH and inner != 2 * width:
            self.refuse("ssm.inner_size", f"twice embedding_length, {2 * width}")
        if self.number("wkv.head_size"):
            size = self.number("wkv.head_size")
            if width % size:
                self.refuse("wkv.head_size", f"a divisor of embedding_length, {width}")
