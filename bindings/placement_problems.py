"""What is not where it should be, in words: what, why, and what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .layer_ranges import layers_text

if TYPE_CHECKING:
    from .op_placement import MisplacedOp, MisplacedWeight, PlacementReport

ATTENTION = "FLASH_ATTN_EXT"
CACHE_FLAGS = {"k": "-ctk", "v": "-ctv"}


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it was asked for."""

    what: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}; {self.remedy}"


def find_problems(report: PlacementReport) -> Iterator[Problem]:
    """All of a report's, each kind of op once."""
    kinds: dict[tuple[str, ...], list[MisplacedOp]] = defaultdict(list)
    passes: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for graph in report.graphs:
        for op in graph.misplaced:
            types = (source.type for source in op.sources)
            kind = (op.op, op.device, op.planned, str(bool(op.weight)), *types)
            kinds[kind].append(op)
            passes[kind].add(graph.name)
    is_sized = any(graph.name == "decode" for graph in report.graphs)
    for kind, ops in kinds.items():
        weight = next((one for one in report.weights if one.name == ops[0].weight), None)
        if weight:
            yield _by_weight(ops, weight)
        else:
            yield _misplaced_ops(ops, is_sized and "decode" not in passes[kind])
    yield from _weights(report, {op.weight for ops in kinds.values() for op in ops})
    yield from _overrides(report)
    yield from _cache_types(report)


# ---------------------------------------------------------------- ops


def _misplaced_ops(ops: list[MisplacedOp], in_prompts: bool) -> Problem:
    """`in_prompts`: only there, so that it is a matter of size."""
    first, layers = ops[0], {op.layer for op in ops}
    what = _what(ops, ", when computing prompts," if in_prompts else "")
    smaller = "take a smaller -ub or -c, or " if in_prompts else ""
    if first.op == ATTENTION and first.is_lacking:
        return Problem(what, _attention_reason(first), smaller + _attention_remedy(first))
    return Problem(what, _reason(first), smaller + _by_layer(layers))


def _by_weight(ops: list[MisplacedOp], weight: MisplacedWeight) -> Problem:
    reason = f"{weight.planned} cannot compute with {_described(weight)}"
    return Problem(_what(ops), reason, _weight_remedy({op.weight for op in ops}, weight.device))


def _what(ops: list[MisplacedOp], when: str = "") -> str:
    first, layers = ops[0], {op.layer for op in ops}
    where = "" if layers == {-1} else f" of {layers_text(layers - {-1})}"
    return f"{first.op}{where}{when} would run on {first.device} instead of {first.planned}"


def _reason(op: MisplacedOp) -> str:
    if op.is_lacking:
        reads = ", ".join(f"{one.type} {list(one.shape)}" for one in op.sources)
        return f"{op.planned} cannot compute it of {reads}"
    return "what comes before and after it runs there"


def _attention_reason(op: MisplacedOp) -> str:
    _, keys, values = op.sources[:3]
    heads = f"heads of {keys.shape[0]} and {values.shape[0]}"
    cells = f"{op.sources[3].shape[0]} cells" if len(op.sources) > 3 else "no mask"
    return (
        f"{op.planned} has no flash attention for keys in {keys.type} and values in "
        f"{values.type}, {heads}, {cells}"
    )


def _attention_remedy(op: MisplacedOp) -> str:
    _, keys, values = op.sources[:3]
    without = "-fa off, which computes attention there by other ops"
    if values.type not in ("f32", "f16", "bf16"):
        without = f"-ctk f16 -ctv f16 {without}"
    if keys.type == values.type:
        return f"take {without}"
    return f"give both one type, as -ctk {keys.type} -ctv {keys.type}, or take {without}"


def _by_layer(layers: set[int]) -> str:
    numbers = "|".join(str(layer) for layer in sorted(layers - {-1}))
    keep = rf"keep these layers in system memory, -ot 'blk\.({numbers})\.=CPU'" if numbers else ""
    return ", or ".join(filter(None, [keep, "use another --backend"]))


# ---------------------------------------------------------------- weights, overrides, the cache


def _weights(report: PlacementReport, named: set[str]) -> Iterator[Problem]:
    """Those that are out of place without taking an op along."""
    kinds = defaultdict(list)
    for weight in report.weights:
        if weight.name in named:
            continue
        kind = re.sub(r"^blk\.\d+\.", "", weight.name)
        kinds[kind, weight.type, weight.device, weight.planned].append(weight)
    for (*_, device, planned), weights in kinds.items():
        more = f" and {len(weights) - 1} like it" if len(weights) > 1 else ""
        yield Problem(
            f"{weights[0].name}{more} would be in {device} memory instead of {planned}'s",
            f"{planned} cannot compute with {_described(weights[0])}",
            _weight_remedy({weight.name for weight in weights}, device),
        )


def _described(weight: MisplacedWeight) -> str:
    return f"{weight.name}, {weight.type} {list(weight.shape)} of {weight.bytes} bytes"


def _weight_remedy(names: set[str], device: str) -> str:
    layers: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        match = re.fullmatch(r"blk\.(\d+)\.(.*)", name)
        layers[match[2] if match else name].append(match[1] if match else "")
    rows = "|".join(
        (rf"blk\.({'|'.join(numbers)})\." if numbers[0] else "^") + re.escape(name)
        for name, numbers in layers.items()
    )
    return f"say that it belongs there, -ot '{rows}={device}', or use another --backend"


def _overrides(report: PlacementReport) -> Iterator[Problem]:
    for i, row in enumerate(report.overrides):
        if row.n_taken if i < report.asked.n_named else row.n_matching:
            continue
        taken = row.n_matching and "all that it matches is taken by those before it"
        yield Problem(
            f"the tensor override {row.pattern}={row.buffer_type} has no effect",
            taken or "no tensor of this model has a name that it matches",
            "leave it out, or see `pannier inspect --tensors FILE` for the names",
        )


def _cache_types(report: PlacementReport) -> Iterator[Problem]:
    asked = {"k": report.asked.type_k, "v": report.asked.type_v}
    for part, type in report.cache_types.items():
        if type != asked[part]:
            yield Problem(
                f"the KV cache's {part.upper()} rows are in {type} instead of {asked[part]}",
                "llama.cpp changed the type",
                f"take {CACHE_FLAGS[part]} {type}",
            )
