"""Plans beside real contexts, over grids of options, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pannier.engine import Engine

from .conftest import run_python

SIX = sorted((Path(__file__).parent / "data").rglob("*.gguf"))
"""Attention, experts, sliding window, recurrent, hybrid, hybrid with rollback."""

# Prints what was compared, and each context whose rows differ.
CODE = """
import itertools, json, sys
from collections import Counter
import pannier


def by_type(pairs):
    totals = Counter()
    for name, size in pairs:
        totals[name] += size
    return +totals


paths, loads, grid = json.loads(sys.argv[1])
compared, differing = 0, []
for path in paths:
    for load in loads:
        real = pannier.Model(path, **load)
        with real, pannier.Model(path, no_alloc=True, **load) as planned:
            assert sorted(real.tensors, key=str) == sorted(planned.tensors, key=str)
            for values in itertools.product(*grid.values()):
                options = dict(zip(grid, values), n_threads=1)
                options.setdefault("type_v", options["type_k"])
                with real.context(**options) as context:
                    report, plan = context.memory(), planned.plan(**options)
                    rows = report.rows
                    facts = [
                        name for name in ("n_ctx", "n_ctx_seq", "n_batch", "n_ubatch", "n_rs_seq",
                        "kv_cell_bytes", "recurrent_seq_bytes", "window_seq_bytes")
                        if getattr(context, name) != getattr(plan, name)
                    ]
                    if by_type((row.buffer_type, row.bytes) for row in rows) != by_type(
                        report.allocated
                    ):
                        facts.append("the allocator's record")
                compared += 1
                if rows != plan.rows or facts:
                    differing.append([path, load, options, str(rows), str(plan.rows), facts])
print(json.dumps([compared, differing]))
"""
GRID = {
    "n_parallel": [1, 2, 4, 8, 16],
    "n_ctx": [512, 4096],
    "type_k": ["f16", "q8_0", "q4_0"],
    "kv_unified": [True, False],
}
SMALL_GRID = {
    "n_parallel": [1, 3],
    "n_ctx": [768],
    "type_k": ["f16"],
    "n_ubatch": [64, 512],
    "n_rs_seq": [0, 4],
    "swa_full": [False, True],
    "flash_attn": ["on", "off"],
}


def compare(
    engine: Engine,
    paths: Iterable[Path],
    loads: Sequence[Mapping[str, Any]],
    grid: Mapping[str, Sequence[Any]],
    env: Mapping[str, str] | None = None,
) -> int:
    """Every model with every way of loading it and every row of the grid: how many there were.

    Fails where a plan is not what was allocated.
    """
    work = json.dumps([[str(path) for path in paths], list(loads), dict(grid)])
    compared, differing = json.loads(run_python(engine, CODE, work, env=env))
    assert differing == []
    return int(compared)
