"""The bytes of each tensor.

Hidden states stay what the embedding made them, and something: what all layers add has a variance
well below the embedding's, as far as norms, gates and averages let it through. So routers see
mostly the current token, and attention and recurrent states still tell.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import gguf
import numpy as np
from numpy.typing import NDArray

from ..convert.random_gguf import (
    RandomSpec,
    Types,
    byte_shape,
    draw,
    numbers_of,
    padded,
    tensors,
    type_of,
)
from ..convert.recipes import FILE_TYPES, recipe_named
from ..errors import ArgumentError
from .blocks import Bytes, as_bytes, random_rows
from .models import MODELS, spec_of
from .routing import Routing, biases, topic_share
from .topics import Topics, topic_of
from .types import chosen_types

Floats = NDArray[np.float32]

PIECE_BYTES = 8 << 20
ADDED = 0.5
"""Deviation of what all layers would add to the hidden state if what goes into their last matrices
had 1, as the embedding has. What they do add has a variance of 0.02 to 0.2, by architecture."""
ROUTER_GAIN = 1.5
"""Deviation of a router's logits, biases aside."""
_ADDS_TO_HIDDEN = ("attn_output", "ssm_out", "ffn_down", "ffn_down_exps", "ffn_down_shexp")
_NORMS_OF_HIDDEN = ("attn_norm", "post_attention_norm", "ffn_norm")
_NOTHING = ("exp_probs_b.bias", "ffn_gate_inp.bias")
"""Biases of routers, which have theirs from channel 0."""


@dataclass(frozen=True)
class Piece:
    """Some rows of a tensor."""

    name: str
    first: int
    n_rows: int
    is_last: bool


@dataclass(frozen=True)
class Synthesis:
    """A model to make: sizes, types, routers."""

    spec: RandomSpec
    types: Types
    file_type: int
    routing: Routing = field(default_factory=Routing)

    @property
    def n_weight_bytes(self) -> int:
        """Bytes after the header."""
        return sum(padded(prod(self.byte_shape(name))) for name in self.shapes)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors, a row last, in the order of the file."""
        return dict(tensors(self.spec))

    @cached_property
    def topics(self) -> Topics:
        """What the tables and the routers share."""
        types = [self.types[f"{name}.weight"].name for name in ("token_embd", "output")]
        return Topics(self.spec.n_embd, types[0], types[1], self.spec.seed)

    def byte_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor's bytes."""
        return byte_shape(self.shapes[name], self.types[name])

    def pieces(self) -> Iterator[Piece]:
        """All tensors in the order of the file; a matrix in pieces of at most PIECE_BYTES."""
        for name in self.shapes:
            *rows, row_bytes = self.byte_shape(name)
            n_rows = prod(rows)
            step = max(PIECE_BYTES // row_bytes, 1) if self._is_matrix(name) else max(n_rows, 1)
            for first in range(0, n_rows, step):
                n = min(step, n_rows - first)
                yield Piece(name, first, n, first + n == n_rows)

    def data(self, piece: Piece) -> Bytes:
        """The bytes of a piece, the same for the same synthesis; safe to call from any thread."""
        if self._is_matrix(piece.name):
            return self._matrix_rows(piece)
        return as_bytes(self._vector(piece.name), self.types[piece.name].name)

    def _is_matrix(self, name: str) -> bool:
        """Whether a tensor has the spec's type, and so what the recipe says."""
        type = type_of(name, self.shapes[name], self.spec)
        return bool(type != gguf.GGMLQuantizationType.F32)

    def _matrix_rows(self, piece: Piece) -> Bytes:
        shape, type = self.shapes[piece.name], self.types[piece.name].name
        kind = kind_of(piece.name)
        random = np.random.default_rng(
            [self.spec.seed, zlib.crc32(piece.name.encode()), piece.first]
        )
        deviation = self._deviation(kind, shape[-1])
        rows = random_rows(type, piece.n_rows, shape[-1], deviation, random)
        indices = np.arange(piece.first, piece.first + piece.n_rows)
        if kind in ("token_embd", "output"):
            table = self.topics.embedding if kind == "token_embd" else self.topics.output
            rows[:, : table.shape[1]] = table[topic_of(indices)]
        elif kind in _ADDS_TO_HIDDEN:
            rows[indices % shape[-2] < self.topics.n_steady] = 0  # bytes of 0 are 0 in every type
        return rows

    def _deviation(self, kind: str, n_in: int) -> float:
        if kind in ("token_embd", "output"):
            return 1.0
        added = ADDED / (2 * self.spec.n_layer) ** 0.5 if kind in _ADDS_TO_HIDDEN else 1.0
        return float(added * n_in**-0.5)

    def _vector(self, name: str) -> Floats:
        """A tensor that is kept in floats."""
        shape, kind = self.shapes[name], kind_of(name)
        if kind == "ffn_gate_inp":
            return self.router(name)
        if name.endswith(_NOTHING):
            return np.zeros(shape, dtype=np.float32)
        if kind == "output_norm":
            return self.topics.output_norm()
        if kind in _NORMS_OF_HIDDEN:
            return self._norm(shape)
        values = draw(name, shape, self.spec)
        if name.removesuffix(".bias").split(".")[-1] in _ADDS_TO_HIDDEN:
            values[..., : self.topics.n_steady] = 0
        return values

    def _norm(self, shape: tuple[int, ...]) -> Floats:
        """Layers see one steady channel, for the sake of routers."""
        weights = np.ones(shape, dtype=np.float32)
        weights[1 : self.topics.n_steady] = 0
        return weights

    def router(self, name: str) -> Floats:
        """A router's weights, [n_expert, n_embd]; which experts are the likely ones is random."""
        n_expert, n_embd = self.shapes[name]
        numbers = numbers_of(self.spec)
        n_used = numbers["expert_used_count"]
        assert isinstance(n_used, int)
        random = np.random.default_rng([self.spec.seed, zlib.crc32(name.encode())])
        share = topic_share(n_expert, n_used, self.routing)
        steady, topic = self.topics.n_steady, self.topics.n_channels
        weights = random.standard_normal((n_expert, n_embd), dtype=np.float32)
        weights[:, steady:topic] *= (share / (topic - steady)) ** 0.5
        weights[:, topic:] *= ((1 - share) / (n_embd - topic)) ** 0.5
        weights[:, :steady] = 0
        weights[:, 0] = random.permutation(biases(n_expert, n_used, self.routing.skew))
        return weights * np.float32(ROUTER_GAIN)


def make_synthesis(
    name: str,
    *,
    n_layer: int | None = None,
    type: str | None = None,
    routing: Routing | None = None,
    seed: int = 1,
) -> Synthesis:
    """A model of MODELS, with types by the engine's recipes.

    n_layer: keep so many (`models.spec_of`). type: a recipe of llama-quantize; default the model's
    own. Raises ArgumentError for values that cannot be, EngineNotFound without an engine.
    """
    if seed < 0:
        raise ArgumentError(f"a seed of {seed}; it can be 0 or more")
    spec = replace(spec_of(name, n_layer), seed=seed)
    recipe = recipe_named(type or MODELS[name].recipe)
    return Synthesis(spec, chosen_types(spec, recipe), FILE_TYPES[recipe], routing or Routing())


def kind_of(name: str) -> str:
    """A tensor's name less its layer and ".weight"."""
    return name.removesuffix(".weight").split(".")[-1]
