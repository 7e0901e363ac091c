"""Where the ops of a context's graphs run, as the engine tells it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .errors import PlacementError
from .placement_problems import Problem, find_problems


@dataclass(frozen=True)
class OpSource:
    """What an op reads."""

    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class MisplacedOp:
    """An op that runs elsewhere than where its weights, or its neighbours, are."""

    name: str
    op: str
    """ggml's name, as "FLASH_ATTN_EXT"."""
    layer: int
    """-1: none."""
    device: str
    planned: str
    is_lacking: bool
    """The planned device cannot compute it."""
    weight: str
    """The weight that took it along, which could not be where it should; or empty."""
    sources: tuple[OpSource, ...]


@dataclass(frozen=True)
class Copies:
    """What goes from one device to another in a pass over a graph."""

    source: str
    target: str
    n: int
    bytes: int
    weight_bytes: int
    """Those of weights in system memory that are computed with on a device; of experts all, though
    only those that are used are copied."""
    cache_bytes: int
    """Those of KV caches and states."""


@dataclass(frozen=True)
class GraphPlacement:
    """One graph: "decode" is a token of each client, "prompt" a ubatch of one, "prompts" of all."""

    name: str
    n_tokens: int
    n_seqs: int
    n_splits: int
    """Runs of ops on one device."""
    ops: dict[str, dict[str, int]]
    """Device to op to how many."""
    copies: tuple[Copies, ...]
    misplaced: tuple[MisplacedOp, ...]


@dataclass(frozen=True)
class MisplacedWeight:
    """A weight that its device has no op for, and which llama.cpp put elsewhere."""

    name: str
    type: str
    shape: tuple[int, ...]
    device: str
    planned: str
    bytes: int


@dataclass(frozen=True)
class UsedOverride:
    """A row of tensor overrides, and what became of it."""

    pattern: str
    buffer_type: str
    n_matching: int
    n_taken: int
    """Matching tensors that no row before took."""


@dataclass(frozen=True)
class Asked:
    """What the engine was asked for, to hold against what it made of it."""

    type_k: str
    type_v: str
    n_named: int
    """Overrides that somebody wrote; those after them come from flags about experts."""


@dataclass(frozen=True)
class PlacementReport:
    """All graphs of a context, and what is wrong with them."""

    graphs: tuple[GraphPlacement, ...]
    weights: tuple[MisplacedWeight, ...]
    overrides: tuple[UsedOverride, ...]
    cache_types: dict[str, str]
    """"k" and "v" to the type that the KV cache has; empty without one."""
    flash_attn: bool
    asked: Asked

    @classmethod
    def from_json(cls, text: str, asked: Asked) -> PlacementReport:
        """What pannier_context_placement of pannier.h says."""
        data = json.loads(text)
        return cls(
            graphs=tuple(map(_graph, data["graphs"])),
            weights=tuple(
                MisplacedWeight(**row | {"shape": tuple(row["shape"])}) for row in data["weights"]
            ),
            overrides=tuple(UsedOverride(**row) for row in data["overrides"]),
            cache_types=data["cache_types"],
            flash_attn=data["flash_attn"],
            asked=asked,
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What runs, lies or is not as asked for; none: all is in its place."""
        return tuple(find_problems(self))

    def check(self) -> None:
        """Raises PlacementError if there is a problem."""
        if problems := self.problems:
            raise PlacementError("; and ".join(map(str, problems)))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"problems": [asdict(problem) for problem in self.problems]}


def _graph(row: dict[str, Any]) -> GraphPlacement:
    copies = tuple(Copies(**copy) for copy in row["copies"])
    misplaced = tuple(map(_misplaced, row["misplaced"]))
    return GraphPlacement(**row | {"copies": copies, "misplaced": misplaced})


def _misplaced(row: dict[str, Any]) -> MisplacedOp:
    sources = tuple(OpSource(one["type"], tuple(one["shape"])) for one in row["sources"])
    return MisplacedOp(**row | {"sources": sources})
