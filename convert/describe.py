"""A plan in lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.filesize import decimal

from ..placement import EXPERTS, INPUT, REST
from ..roles import Role
from .table import Plan, TensorPlan

_PATTERNS = {EXPERTS: "routed experts", INPUT: "input tables", REST: "the rest"}


def describe(plan: Plan) -> str:
    """The tensor table, then sizes by role, type and device, then the whole."""
    sections = [
        columns([("tensor", "shape", "type", "bytes", "role", "device")], plan_rows(plan)),
        columns([("role", "bytes")], amounts(plan.role_bytes)),
        columns([("type", "bytes", "tensors")], type_rows(plan.tensors)),
        columns([("device", "bytes", "tensors")], device_rows(plan)),
        columns([], summary(plan).items()),
    ]
    return "\n".join(sections)


def plan_rows(plan: Plan) -> Iterable[Sequence[str]]:
    for tensor in plan.tensors:
        shape = " x ".join(map(str, tensor.shape))
        size = decimal(tensor.n_bytes)
        yield tensor.name, shape, tensor.type, size, tensor.role, tensor.device


def amounts(sizes: Mapping[Role, int]) -> Iterable[Sequence[str]]:
    return ((name, decimal(n_bytes)) for name, n_bytes in sizes.items())


def type_rows(tensors: Sequence[TensorPlan]) -> Iterable[Sequence[str]]:
    sizes = Counter[str]()
    for tensor in tensors:
        sizes[tensor.type] += tensor.n_bytes
    counts = Counter(tensor.type for tensor in tensors)
    for name, n_bytes in sizes.most_common():
        yield name, decimal(n_bytes), str(counts[name])


def device_rows(plan: Plan) -> Iterable[Sequence[str]]:
    for row in plan.placement:
        yield row.device, decimal(row.n_bytes), _PATTERNS.get(row.pattern, row.pattern)


def summary(plan: Plan) -> dict[str, str]:
    return {
        "files": ", ".join(map(str, plan.files)),
        "architecture": plan.architecture,
        "recipe": plan.quant,
        "tensors": str(plan.n_tensors),
        "size": decimal(plan.n_bytes),
        "pre-tokenizer": plan.pre or "none",
        "memory to convert": f"about {decimal(plan.peak_memory_bytes)}",
    }


def columns(heads: Iterable[Sequence[str]], rows: Iterable[Sequence[str]]) -> str:
    """Rows below their heads, each column as wide as its longest cell."""
    table = [*heads, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
    return "".join(f"{line}\n" for line in lines)
