"""What is known of one server with its clients: planned, allocated, measured, and held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..memory import KINDS, MemoryRow
from ..planner.budget import HOST
from ..planner.cost import MAPPED, Cost

Kinds = dict[str, int]
"""Bytes by kind."""


@dataclass(frozen=True)
class Place:
    """Memory that somebody can read a number for: a device's own, or the system's. A device whose
    driver tells nothing is counted with the system's memory, where a software one has it."""

    devices: tuple[str, ...]
    predicted_bytes: int
    """By the planner. Pages of a mapped file are in none of these figures."""
    allocated_bytes: int
    """By the running server's own rows."""
    measured_bytes: int
    measured_by: str
    """"process": the driver's figure for this process; "device": all that is in use there;
    "resident": the process's resident memory."""

    @property
    def name(self) -> str:
        return " + ".join(self.devices)


@dataclass(frozen=True)
class Held:
    """What the ledger says of the clients at one moment."""

    n_cells: int
    """In use, a shared one once."""
    cells_bytes: int
    window_bytes: int
    """Cells of sliding windows, which are each client's own."""
    state_bytes: int
    """Recurrent states and their rollback planes."""

    @property
    def bytes(self) -> int:
        return self.cells_bytes + self.window_bytes + self.state_bytes


@dataclass(frozen=True)
class Point:
    """One server."""

    n_clients: int
    n_ctx: int
    n_sequences: int
    cell_bytes: int
    state_bytes: int
    """A sequence's recurrent state with its rollback planes."""
    window_bytes: int
    predicted: Mapping[str, Kinds]
    """By device."""
    allocated: Mapping[str, Kinds] = field(default_factory=dict)
    """Empty for a plan alone, as the next two."""
    places: tuple[Place, ...] = ()
    held: Held | None = None

    @property
    def is_measured(self) -> bool:
        return self.held is not None

    @property
    def kinds(self) -> Kinds:
        """Over all devices: what was allocated, else what is predicted."""
        return _total(self.allocated or self.predicted)

    @property
    def difference(self) -> dict[str, Kinds]:
        """Allocated less predicted, where it is not 0."""
        found = {
            device: {
                kind: n - self.predicted.get(device, {}).get(kind, 0) for kind, n in kinds.items()
            }
            for device, kinds in self.allocated.items()
        }
        clean = {device: {k: n for k, n in kinds.items() if n} for device, kinds in found.items()}
        return {device: kinds for device, kinds in clean.items() if kinds}

    @property
    def client_places(self) -> tuple[Place, ...]:
        """Those that hold anything of a client."""
        return tuple(place for place in self.places if any(map(self._holds, place.devices)))

    def _holds(self, device: str) -> bool:
        kinds = self.allocated.get(device, {})
        return any(kinds.get(kind, 0) for kind in ("kv", "recurrent"))


def of_cost(n_clients: int, cost: Cost) -> Point:
    """A plan alone."""
    return Point(
        n_clients=n_clients,
        n_ctx=cost.n_ctx,
        n_sequences=cost.n_sequences,
        cell_bytes=cost.kv_cell_bytes,
        state_bytes=cost.state_bytes * (1 + cost.n_rollback),
        window_bytes=cost.window_bytes,
        predicted=by_device(cost.rows),
    )


def by_device(rows: tuple[MemoryRow, ...]) -> dict[str, Kinds]:
    """Bytes of each kind on each device."""
    found: dict[str, Kinds] = {}
    for row in rows:
        kinds = found.setdefault(row.device, dict.fromkeys(KINDS, 0))
        kinds[row.kind] += row.bytes
    return found


def reported(report: Mapping[str, Any]) -> dict[str, Kinds]:
    """The same of a server's `/memory`."""
    found = {
        row["name"]: {kind: row[f"{kind}_bytes"] for kind in KINDS} for row in report["devices"]
    }
    return {device: kinds for device, kinds in found.items() if any(kinds.values())}


def held_by(report: Mapping[str, Any]) -> Held:
    """What the clients of a `/memory` hold."""
    clients = [row for row in report["clients"] if row["id"] is not None]
    cell = report["kv"]["cell_bytes"]
    state = sum(row["recurrent_bytes"] + row.get("rollback_bytes", 0) for row in clients)
    return Held(
        n_cells=report["kv"]["n_cells_used"],
        cells_bytes=report["kv"]["n_cells_used"] * cell,
        window_bytes=sum(max(0, row["kv_bytes"] - row["n_cells"] * cell) for row in clients),
        state_bytes=state,
    )


def places_of(cost: Cost, report: Mapping[str, Any], resident_bytes: int) -> tuple[Place, ...]:
    """The memories, each with its figures. Raises KeyError for a report of another shape."""
    allocated = reported(report)
    silent: list[str] = []
    places: list[Place] = []
    for row in report["devices"]:
        name = row["name"]
        if name not in allocated and name != HOST:
            continue
        figure, by = _in_use(row)
        if figure is None:
            silent.append(name)
        else:
            n_bytes = sum(allocated[name].values())
            places.append(Place((name,), cost.used_bytes(name), n_bytes, figure, by))
    mapped = sum(n for name, n in report["allocated"].items() if name.endswith(MAPPED))
    n_bytes = sum(sum(allocated.get(name, {}).values()) for name in silent) - mapped
    predicted = sum(cost.used_bytes(name) for name in silent)
    places.append(Place(tuple(silent), predicted, n_bytes, resident_bytes, "resident"))
    return tuple(places)


def _in_use(row: Mapping[str, Any]) -> tuple[int | None, str]:
    """A device's own word, and whose; None where it has none."""
    if row["name"] == HOST or row["type"] == "cpu":
        return None, "resident"
    if row.get("process_bytes") is not None:
        return int(row["process_bytes"]), "process"
    in_use = int(row["total_bytes"] - row["free_bytes"])
    return (in_use, "device") if in_use else (None, "resident")


def _total(devices: Mapping[str, Kinds]) -> Kinds:
    total = dict.fromkeys(KINDS, 0)
    for kinds in devices.values():
        for kind, n_bytes in kinds.items():
            total[kind] += n_bytes
    return total
