"""Random-weight GGUF files of real architectures at any size, without torch. Here Qwen3Next, a
mixture of experts whose layers are linear attention but for every fourth; `random_dense.py` has
those of attention only.

The weights say nothing, but they behave: hidden states keep their scale, routers spread their
tokens, logits differ enough for text to wander, and control tokens and single bytes are made
unlikely, so that what comes out is words.
"""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Union

import gguf
import numpy as np
from numpy.typing import NDArray

from ..part import whole
from .byte_vocabulary import N_FIXED, ByteVocabulary

_FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
Weights = NDArray[np.float32]

_KEPT_F32 = (
    *("_norm.weight", ".bias", "ssm_a", "ssm_d", "conv1d.weight", "gate_inp.weight"),
    *("conv1d_q.weight", "conv1d_k.weight", "conv1d_v.weight"),
)
_STEADY = 2.0
"""Value of hidden channel 0, which embeddings set and no layer touches: a bias for the logits."""
_GAIN = {"ffn_gate_inp": 2.0, "ssm_ba": 1.0}


Shapes = Mapping[str, tuple[int, ...]]
Number = Union[bool, int, float, str, "list[int]"]
Types = Mapping[str, gguf.GGMLQuantizationType]
_ADDS_TO_HIDDEN = ("attn_output", "ssm_out", "ffn_down", "ffn_down_exps", "ffn_down_shexp")
_NORMS_OF_HIDDEN = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")


@dataclass(frozen=True, kw_only=True)
class RandomSpec(ABC):
    """Sizes of a model; named as in GGUF's metadata where they have a name there."""

    architecture: ClassVar[str]

    name: str
    n_embd: int
    n_layer: int
    n_head: int
    n_head_kv: int
    head_dim: int
    vocabulary: ByteVocabulary
    tied: bool = False
    """Whether the output matrix is the embedding matrix."""
    type: str = "F16"
    """Type of the weight matrices: F32, F16, Q8_0 or Q4_0."""
    shared_in_f32: bool = True
    """Whether shared experts are in F32, as in the models of the benches."""
    n_ctx_train: int = 32768
    metadata: Mapping[str, Number] = field(default_factory=dict)
    """What a file says beside, or otherwise than, what follows from the sizes."""
    seed: int = 1

    @property
    def n_weights(self) -> int:
        """Elements of all tensors."""
        return sum(prod(shape) for _, shape in tensors(self))

    @abstractmethod
    def layer(self, index: int) -> Shapes:
        """Name and shape of every tensor of a layer; the last dimension is a row, as in numpy."""

    @abstractmethod
    def numbers(self) -> Mapping[str, Number]:
        """The metadata that only this architecture has."""


@dataclass(frozen=True, kw_only=True)
class Qwen3NextSpec(RandomSpec):
    """Sizes of a Qwen3Next model."""

    architecture = "qwen3next"

    ssm_head_dim: int
    ssm_k_heads: int
    ssm_v_heads: int
    n_expert: int
    n_expert_used: int
    n_ff_exp: int
    full_attention_interval: int = 4

    def is_recurrent(self, layer: int) -> bool:
        """Whether a layer has linear attention; every fourth has full attention."""
        return (layer + 1) % self.full_attention_interval != 0

    def layer(self, index: int) -> Shapes:
        """A mixer and the experts."""
        mixer = linear_attention(self) if self.is_recurrent(index) else full_attention(self)
        return mixer | experts(self)

    def numbers(self) -> Mapping[str, Number]:
        """Experts, and the gated delta net's sizes."""
        return {
            "feed_forward_length": self.n_ff_exp,
            "rope.freq_base": 1e7,
            "rope.dimension_count": self.head_dim // 4,
            "expert_count": self.n_expert,
            "expert_used_count": self.n_expert_used,
            "expert_feed_forward_length": self.n_ff_exp,
            "expert_shared_feed_forward_length": self.n_ff_exp,
            "ssm.conv_kernel": 4,
            "ssm.state_size": self.ssm_head_dim,
            "ssm.group_count": self.ssm_k_heads,
            "ssm.time_step_rank": self.ssm_v_heads,
            "ssm.inner_size": self.ssm_head_dim * self.ssm_v_heads,
            "full_attention_interval": self.full_attention_interval,
        }


def write_random(path: Path, spec: RandomSpec) -> Path:
    """Write the model to `path`, the same bytes for the same spec, and return the path.

    Written beside and renamed; tensors are made one at a time.
    """
    types = types_of(spec)
    with whole(path) as part, closing(begin(part, spec, types)) as writer:
        for name, shape in tensors(spec):
            writer.write_tensor_data(gguf.quantize(draw(name, shape, spec), types[name]))
    return path


def write_header(
    path: Path, spec: RandomSpec, types: Types | None = None, file_type: int | None = None
) -> Path:
    """Write the model less its weights, a file as long as it would be with them.

    types, file_type: of the tensors by name, and of the file; the spec's if None.
    """
    types = types or types_of(spec)
    begin(path, spec, types, file_type).close()
    n_bytes = sum(padded(prod(byte_shape(shape, types[name]))) for name, shape in tensors(spec))
    os.truncate(path, padded(path.stat().st_size) + n_bytes)
    return path


def padded(n_bytes: int) -> int:
    """Bytes up to where the next tensor may begin."""
    return int(gguf.GGUFWriter.ggml_pad(n_bytes, gguf.GGUF_DEFAULT_ALIGNMENT))


def begin(path: Path, spec: RandomSpec, types: Types, file_type: int | None = None) -> Any:
    """Write what comes before the weights."""
    writer = gguf.GGUFWriter(path, spec.architecture)
    add_metadata(writer, spec, file_type)
    for name, shape in tensors(spec):
        n_bytes = prod(byte_shape(shape, types[name]))
        writer.add_tensor_info(name, shape, np.dtype(np.float32), n_bytes, types[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def byte_shape(shape: tuple[int, ...], type: gguf.GGMLQuantizationType) -> tuple[int, ...]:
    """Shape of a tensor's bytes: its rows as stored."""
    block, size = gguf.GGML_QUANT_SIZES[type]
    return (*shape[:-1], shape[-1] // block * size)


def types_of(spec: RandomSpec) -> Types:
    """The type of each tensor."""
    return {name: type_of(name, shape, spec) for name, shape in tensors(spec)}


def type_of(name: str, shape: tuple[int, ...], spec: RandomSpec) -> gguf.GGMLQuantizationType:
    """Matrices in the spec's type, vectors and what llama.cpp keeps in F32 in F32."""
    kept = (*_KEPT_F32, "shexp.weight") if spec.shared_in_f32 else _KEPT_F32
    matrix = len(shape) >= 2 and not name.endswith(kept)
    return gguf.GGMLQuantizationType[spec.type if matrix else "F32"]


def add_metadata(writer: Any, spec: RandomSpec, file_type: int | None = None) -> None:
    """What llama.cpp needs to know about the model."""
    writer.add_type("model")
    writer.add_name(spec.name)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(_FILE_TYPES[spec.type] if file_type is None else file_type)
    for key, value in numbers_of(spec).items():
        adds = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
        }
        add = adds.get(type(value), writer.add_array)
        add(f"{spec.architecture}.{key}", value)
    spec.vocabulary.add_to(writer)


def numbers_of(spec: RandomSpec) -> dict[str, Number]:
    """The architecture's metadata, less its name in front."""
    return {
        "block_count": spec.n_layer,
        "context_length": spec.n_ctx_train,
        "embedding_length": spec.n_embd,
        "attention.head_count": spec.n_head,
        "attention.head_count_kv": spec.n_head_kv,
        "attention.key_length": spec.head_dim,
        "attention.value_length": spec.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-6,
        **spec.numbers(),
        **spec.metadata,
    }


def tensors(spec: RandomSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor; the last dimension is a row, as in numpy."""
    yield "token_embd.weight", (len(spec.vocabulary), spec.n_embd)
    for layer in range(spec.n_layer):
        for name, shape in spec.layer(layer).items():
            yield f"blk.{layer}.{name}", shape
    yield "output_norm.weight", (spec.n_embd,)
    if not spec.tied:
        yield "output.weight", (len(spec.vocabulary), spec.n_embd)


def linear_attention(spec: Qwen3NextSpec) -> dict[str, tuple[int, ...]]:
    """A gated delta net: projections, short convolution, decay, gated norm."""
    keys = spec.ssm_head_dim * spec.ssm_k_heads
    values = spec.ssm_head_dim * spec.ssm_v_heads
    return {
        "attn_norm.weight": (spec.n_embd,),
        "attn_qkv.weight": (2 * keys + values, spec.n_embd),
        "attn_gate.weight": (values, spec.n_embd),
        "ssm_ba.weight": (2 * spec.ssm_v_heads, spec.n_embd),
        "ssm_conv1d.weight": (2 * keys + values, 4),
        "ssm_dt.bias": (spec.ssm_v_heads,),
        "ssm_a": (spec.ssm_v_heads,),
        "ssm_norm.weight": (spec.ssm_head_dim,),
        "ssm_out.weight": (spec.n_embd, values),
    }


def full_attention(spec: Qwen3NextSpec) -> dict[str, tuple[int, ...]]:
    """Grouped-query attention; the query projection holds the output gate too."""
    return {
        "attn_norm.weight": (spec.n_embd,),
        "attn_q.weight": (2 * spec.n_head * spec.head_dim, spec.n_embd),
        "attn_k.weight": (spec.n_head_kv * spec.head_dim, spec.n_embd),
        "attn_v.weight": (spec.n_head_kv * spec.head_dim, spec.n_embd),
        "attn_q_norm.weight": (spec.head_dim,),
        "attn_k_norm.weight": (spec.head_dim,),
        "attn_output.weight": (spec.n_embd, spec.n_head * spec.head_dim),
    }


def experts(spec: Qwen3NextSpec) -> dict[str, tuple[int, ...]]:
    """Router, routed experts, and one shared expert with a gate."""
    wide, tall = (spec.n_ff_exp, spec.n_embd), (spec.n_embd, spec.n_ff_exp)
    return {
        "post_attention_norm.weight": (spec.n_embd,),
        "ffn_gate_inp.weight": (spec.n_expert, spec.n_embd),
        "ffn_gate_exps.weight": (spec.n_expert, *wide),
        "ffn_up_exps.weight": (spec.n_expert, *wide),
        "ffn_down_exps.weight": (spec.n_expert, *tall),
        "ffn_gate_inp_shexp.weight": (spec.n_embd,),
        "ffn_gate_shexp.weight": wide,
        "ffn_up_shexp.weight": wide,
        "ffn_down_shexp.weight": tall,
    }


def draw(name: str, shape: tuple[int, ...], spec: RandomSpec) -> Weights:
    """The weights of one tensor; each has a random stream of its own."""
    random = np.random.default_rng([spec.seed, zlib.crc32(name.encode())])
    noise = random.standard_normal(shape, dtype=np.float32)
    kind = name.removesuffix(".weight").split(".")[-1]
    if name.endswith("ssm_a"):
        return -1 - 7 * random.random(shape, dtype=np.float32)  # decay rates, e to their power
    if name.endswith("ssm_dt.bias"):
        return noise - 2
    if kind in ("token_embd", "output"):
        return steady_rows(noise * np.float32(3 / shape[-1] ** 0.5), kind, spec)
    if name.endswith("_norm.weight"):
        return norm_weights(noise, kind)
    values = noise * np.float32(_GAIN.get(kind, 1.5) / shape[-1] ** 0.5)
    if kind in _ADDS_TO_HIDDEN:
        values[..., 0, :] = 0  # what adds to the hidden state leaves channel 0 alone
    return values


def steady_rows(rows: Weights, kind: str, spec: RandomSpec) -> Weights:
    """Set channel 0: steady in every embedding; as an output, it lifts the words."""
    rows[:, 0] = _STEADY
    if kind == "output" or spec.tied:
        rows[:N_FIXED, 0] = 0
    return rows


def norm_weights(noise: Weights, kind: str) -> Weights:
    """About 1. Layers do not see channel 0; the output does, enlarged. The output's mixed signs
    keep tied embeddings from repeating their input."""
    if kind == "output_norm":
        noise[0] = 10
        return noise
    values = 1 + np.float32(0.2) * noise
    if kind in _NORMS_OF_HIDDEN:
        values[0] = 0
    return values
