"""The ledger: every byte of a context, its model and its devices has one owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .device import Device, devices
from .memory import KINDS, DeviceMemory, MemoryRow, SequenceMemory, TensorRow
from .process_memory import process_bytes
from .roles import ROLES, Role, role_of
from .sharing import CellGroup, Share, shares

HOST = "CPU"
_NOTHING = Share()


class CellBook:
    """What sequences hold of a context's cells and states."""

    def __init__(self, groups: Sequence[CellGroup], n_rollback: int) -> None:
        """`n_rollback`: planes of each state beside the state itself."""
        self._full = shares(group for group in groups if group.kind == "kv")
        self._kv = shares(group for group in groups if group.kind != "state")
        states = [group for group in groups if group.kind == "state"]
        self._states = shares(_part(state, 1, n_rollback) for state in states)
        self._planes = shares(_part(state, n_rollback, n_rollback) for state in states)

    def of(self, seq_id: int, positions: tuple[int, int]) -> SequenceMemory:
        """One sequence."""
        full, kv = self._full.get(seq_id, _NOTHING), self._kv.get(seq_id, _NOTHING)
        state = self._states.get(seq_id, _NOTHING)
        return SequenceMemory(
            seq_id=seq_id,
            pos_min=positions[0],
            pos_max=positions[1],
            n_cells=full.n_cells,
            n_cells_shared=full.n_cells_shared,
            kv_bytes=kv.whole_bytes,
            kv_private_bytes=kv.private_bytes,
            kv_shared_bytes=kv.shared_bytes,
            recurrent_bytes=state.owned_bytes,
            rollback_bytes=self._planes.get(seq_id, _NOTHING).owned_bytes,
            recurrent_shared=state.n_cells_shared > 0,
        )


def _part(state: CellGroup, n: int, n_rollback: int) -> CellGroup:
    """So many planes of a state and its rollback planes."""
    plane_bytes = state.cell_bytes // (1 + n_rollback)
    return CellGroup(state.kind, state.n_cells, n * plane_bytes, state.holders)


def weights_by_role(
    tensors: Iterable[TensorRow], rows: Iterable[MemoryRow]
) -> dict[str, dict[Role, int]]:
    """Device to role to bytes. The buffers' padding, and what a mapping spans between the tensors
    that are used from it, is "other"."""
    found: dict[str, Counter[Role]] = {}
    for tensor in tensors:
        found.setdefault(tensor.device, Counter())[role_of(tensor.name)] += tensor.bytes
    for row in rows:
        if row.kind == "weights":
            found.setdefault(row.device, Counter())["other"] += row.bytes
    for roles in found.values():
        roles["other"] -= sum(n for role, n in roles.items() if role != "other")
    return {device: {role: roles[role] for role in ROLES} for device, roles in found.items()}


def device_ledger(
    rows: Sequence[MemoryRow],
    recorded: Mapping[str, int],
    weights: Mapping[str, Mapping[Role, int]],
) -> tuple[DeviceMemory, ...]:
    """Every device of the engine. `recorded`: bytes of ggml's buffers by device."""
    return tuple(_device(device, rows, recorded, weights) for device in devices())


def _device(
    device: Device,
    rows: Sequence[MemoryRow],
    recorded: Mapping[str, int],
    weights: Mapping[str, Mapping[Role, int]],
) -> DeviceMemory:
    kinds = dict.fromkeys(KINDS, 0)
    for row in rows:
        if row.device == device.name:
            kinds[row.kind] += row.bytes
    pools = (device.allocated_bytes or 0) - recorded.get(device.name, 0)
    return DeviceMemory(
        name=device.name,
        description=device.description,
        type=device.type,
        total_bytes=device.memory_total,
        free_bytes=device.memory_free,
        process_bytes=process_bytes(device),
        kinds=kinds,
        weights=weights.get(device.name, dict.fromkeys(ROLES, 0)),
        pool_bytes=max(0, pools) if recorded else 0,
    )
