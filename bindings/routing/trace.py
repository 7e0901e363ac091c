"""Which experts the routers of a model chose, ubatch by ubatch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Experts = NDArray[np.uint16]
Counts = NDArray[np.int64]

MAX_EXPERTS = 1 << 16
"""What numbers of experts are stored in."""


@dataclass(frozen=True)
class TracedModel:
    """The model that was traced."""

    file: str
    """Name of the file, without folders."""
    name: str
    architecture: str
    n_layer: int
    n_expert: int
    n_expert_used: int
    rest_bytes: int = 0
    """Weights beside the experts that every token reads; 0: the trace does not say."""


@dataclass(frozen=True)
class Ubatch:
    """What was computed at once."""

    n_tokens: int
    experts: tuple[Experts, ...]
    """For each layer of the trace [n_rows, n_expert_used]. Rows are tokens, in their order; the
    last layer may have fewer, because it computes those only that something is sampled after."""
    sequences: tuple[int, ...] = ()
    """Of each token, the text that it belongs to; empty: all to one."""


@dataclass(frozen=True)
class Trace:
    """A model's layers with experts, and what was chosen in each."""

    model: TracedModel
    engine: str
    """Key of the engine that ran it."""
    layers: tuple[int, ...]
    """Numbers of the layers with experts; what follows is in their order."""
    expert_bytes: tuple[int, ...]
    """Of one expert in each layer."""
    layouts: tuple[int, ...]
    """Layers of equal number have experts of equal types and shapes: they can share a cache."""
    ubatches: tuple[Ubatch, ...]

    @cached_property
    def counts(self) -> Counts:
        """How often each expert was used, [n_layers, n_expert]."""
        counts = np.zeros((len(self.layers), self.model.n_expert), dtype=np.int64)
        for row, chosen in zip(counts, self.by_layer, strict=True):
            row += np.bincount(chosen.ravel(), minlength=self.model.n_expert)
        return counts

    @cached_property
    def by_layer(self) -> tuple[Experts, ...]:
        """All that each layer chose, [n_rows, n_expert_used]."""
        n_used = self.model.n_expert_used
        empty = np.empty((0, n_used), dtype=np.uint16)
        return tuple(
            np.concatenate([empty, *(ubatch.experts[i] for ubatch in self.ubatches)])
            for i in range(len(self.layers))
        )

    @property
    def n_tokens(self) -> int:
        return sum(ubatch.n_tokens for ubatch in self.ubatches)

    @property
    def all_bytes(self) -> int:
        """Of all experts."""
        return self.model.n_expert * sum(self.expert_bytes)

    @property
    def token_bytes(self) -> int:
        """Of the experts that one token reads."""
        return self.model.n_expert_used * sum(self.expert_bytes)
