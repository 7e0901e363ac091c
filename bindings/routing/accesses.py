"""A trace as caches of experts see it: groups of layers, and which experts they are asked for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ..moe_cache import MAX_BATCH
from .trace import Trace


@dataclass(frozen=True)
class Group:
    """Layers of equal layout on one device: their experts share so many slots."""

    layers: tuple[int, ...]
    """Numbers of layers, as in the model."""
    n_slots: int


@dataclass(frozen=True)
class Access:
    """What one layer needs for one ubatch."""

    layer: int
    n_rows: int
    """Tokens that it computes."""
    keys: tuple[int, ...]
    """Experts, each once, in the order of their first use; numbered over all layers."""


def groups_of_share(trace: Trace, share: float) -> tuple[Group, ...]:
    """The groups of a cache that holds this share of the experts, all on one device: as llama.cpp
    deals it, each group has the same share of its own."""
    return tuple(
        Group(layers, int(share * len(layers) * trace.model.n_expert + 1e-9))
        for layers in _alike(trace)
    )


def groups_of_bytes(trace: Trace, n_bytes: int) -> tuple[Group, ...]:
    """The groups of a cache of so many bytes: by the experts' bytes, one slot of each for kernels
    that read beyond the last (alignment is left out)."""
    size = dict(zip(trace.layers, trace.expert_bytes, strict=True))
    groups = []
    for layers in _alike(trace):
        n_experts = len(layers) * trace.model.n_expert
        budget = n_bytes * n_experts * size[layers[0]] // trace.all_bytes
        n_slots = max(0, min(n_experts, budget // size[layers[0]] - 1))
        groups.append(Group(layers, n_slots))
    return tuple(groups)


def accesses(trace: Trace) -> list[list[Access]]:
    """All of a trace, ubatch by ubatch, layer by layer; those without a token are left out."""
    n = trace.model.n_expert
    steps = []
    for ubatch in trace.ubatches:
        step = []
        for i, (layer, chosen) in enumerate(zip(trace.layers, ubatch.experts, strict=True)):
            if len(chosen):
                keys = (chosen.ravel().astype(int) + i * n).tolist()
                step.append(Access(layer, len(chosen), tuple(dict.fromkeys(keys))))
        steps.append(step)
    return steps


def is_served(access: Access, group: Group, n_expert: int, n_used: int) -> bool:
    """Whether llama.cpp asks its cache: not for many tokens, nor where the most that they could
    need would not fit. Without slots for one token's experts a group has no cache at all."""
    most = min(access.n_rows * n_used, n_expert)
    return access.n_rows <= MAX_BATCH and n_used <= group.n_slots and most <= group.n_slots


def _alike(trace: Trace) -> list[tuple[int, ...]]:
    """Layers by layout, in the order in which the layouts appear."""
    found: dict[int, list[int]] = defaultdict(list)
    for layer, layout in zip(trace.layers, trace.layouts, strict=True):
        found[layout].append(layer)
    return [tuple(layers) for layers in found.values()]
