"""Which of a model's weights a token reads, by device."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from .memory import TensorRow
from .placement import INPUT
from .roles import role_of


def weight_reads(tensors: Iterable[TensorRow]) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by device of experts, and of what else every token reads. Of tables, a token reads a
    row; one that is there a second time is the output matrix."""
    experts: Counter[str] = Counter()
    others: Counter[str] = Counter()
    tables: set[str] = set()
    for tensor in tensors:
        if re.search(INPUT, tensor.name) and tensor.name not in tables:
            tables.add(tensor.name)
        elif role_of(tensor.name) == "experts":
            experts[tensor.device] += tensor.bytes
        else:
            others[tensor.device] += tensor.bytes
    return dict(experts), dict(others)
