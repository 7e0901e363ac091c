"""Servers that exist in figures only."""

from __future__ import annotations

from typing import Any

from pannier.bench.point import Point, held_by, of_cost, places_of, reported
from pannier.bench.series import Series
from pannier.memory import KINDS, MemoryRow
from pannier.planner import Cost

MIB = 1 << 20
CELL, STATE, RESIDENT = 1024, 3 * MIB, 50 * MIB
"""Resident bytes are those of Python and libraries."""


def cost(n_clients: int, n_ctx: int, device: str = "CPU") -> Cost:
    """A hybrid with all it has on one device, but for 7 MiB of a mapped file."""
    kinds = {"weights": 20 * MIB, "kv": CELL * n_ctx, "recurrent": STATE * (n_clients + 2)}
    rows = [MemoryRow(device, device, device == "CPU", kind, n) for kind, n in kinds.items()]
    rows.append(MemoryRow(device, device, False, "compute", MIB + 1000 * n_clients))
    rows.append(MemoryRow("CPU", "CPU_Mapped", True, "weights", 7 * MIB))
    return Cost(tuple(rows), n_ctx, n_clients + 2, kv_cell_bytes=CELL, state_bytes=STATE)


def report(plan: Cost, n_cells: int, clients: int, **device: Any) -> dict[str, Any]:
    """What a server of that plan says of itself."""
    names = dict.fromkeys(row.device for row in plan.rows)
    return {
        "devices": [
            {
                "name": name,
                "type": "cpu" if name == "CPU" else "gpu",
                "total_bytes": 1000 * MIB,
                "free_bytes": 1000 * MIB,
                **{f"{kind}_bytes": plan.kind_bytes(kind, name) for kind in KINDS},
                **({} if name == "CPU" else device),
            }
            for name in names
        ],
        "clients": [
            {"id": i, "n_cells": 10, "kv_bytes": 10 * CELL, "recurrent_bytes": STATE}
            for i in range(clients)
        ]
        + [{"id": None, "n_cells": 5, "kv_bytes": 5 * CELL, "recurrent_bytes": STATE}],
        "kv": {"n_cells_used": n_cells, "cell_bytes": CELL},
        "allocated": {row.buffer_type: row.bytes for row in plan.rows},
    }


def point(n_clients: int, n_ctx: int, *, measured: bool = True, excess: int = 0) -> Point:
    """On the CPU; `excess` is measured beyond what is allocated."""
    plan = cost(n_clients, n_ctx)
    empty = of_cost(n_clients, plan)
    if not measured:
        return empty
    said = report(plan, n_ctx // 2, n_clients)
    resident = plan.used_bytes("CPU") + RESIDENT + excess
    return Point(
        **{name: getattr(empty, name) for name in empty.__dataclass_fields__}
        | {
            "allocated": reported(said),
            "places": places_of(plan, said, resident),
            "held": held_by(said),
        }
    )


def series(*points: Point, label: str = "pannier", own_tokens: int = 256) -> Series:
    return Series(label, "cpu-0", "unified", own_tokens, ("m.gguf", "-np", "8"), points)
