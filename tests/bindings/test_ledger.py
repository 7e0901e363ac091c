"""Owners of a device's bytes, without an engine."""

from __future__ import annotations

import pytest

from pannier import ledger
from pannier.device import Device
from pannier.ledger import device_ledger, weights_by_role
from pannier.memory import KINDS, DeviceMemory, MemoryRow, TensorRow
from pannier.roles import ROLES


def row(kind: str, n_bytes: int, device: str = "GPU0", buffer_type: str = "GPU0") -> MemoryRow:
    return MemoryRow(device, buffer_type, device == "CPU", kind, n_bytes)


def tensor(name: str, n_bytes: int, device: str = "GPU0") -> TensorRow:
    return TensorRow(name, device, device, device == "CPU", n_bytes)


def test_weights_by_role() -> None:
    tensors = [
        tensor("blk.0.ffn_up_exps.weight", 1000),
        tensor("blk.0.ffn_up_shexp.weight", 100),
        tensor("blk.0.attn_q.weight", 50),
        tensor("blk.0.attn_norm.weight", 5),
        tensor("blk.0.ssm_norm.weight", 7),
        tensor("output.weight", 20),
        tensor("token_embd.weight", 30, "CPU"),
    ]
    rows = [row("weights", 1200), row("weights", 40, "CPU"), row("kv", 9)]
    found = weights_by_role(tensors, rows)
    assert found["CPU"] == {**dict.fromkeys(ROLES, 0), "embedding": 30, "other": 10}
    assert found["GPU0"] == {
        "experts": 1000, "attention": 50, "ffn": 100, "recurrent": 7, "embedding": 0,
        "output": 20, "norm": 5, "other": 18,
    }  # fmt: skip


def on(
    monkeypatch: pytest.MonkeyPatch, *, process: int | None, allocated: int | None, recorded: int
) -> DeviceMemory:
    """A device of 1000 bytes with 700 free, on which 100 bytes of cells and 20 of weights are."""
    device = Device("GPU0", "a card", "Vulkan", "gpu", 1000, 700, "", process, allocated)
    monkeypatch.setattr(ledger, "devices", lambda: [device])
    rows = [row("kv", 60), row("kv", 40), row("weights", 20), row("kv", 5, "CPU")]
    [found] = device_ledger(rows, {"GPU0": recorded} if recorded else {}, {})
    assert found.kinds == {**dict.fromkeys(KINDS, 0), "kv": 100, "weights": 20}
    return found


@pytest.mark.parametrize(
    ("process", "allocated", "recorded", "expected"),
    [
        (200, 150, 120, (200, 30, 50)),
        (200, 150, 130, (200, 20, 60)),  # another context's buffers are nobody's here
        (None, 150, 120, (150, 30, 0)),  # a driver that says nothing
        (None, None, 120, (None, 0, 180)),  # all that is in use
        (100, None, 120, (100, 0, 0)),
        (200, 150, 0, (200, 0, 80)),  # an unpatched engine keeps no record
    ],
)
def test_what_nobody_owns(
    process: int | None,
    allocated: int | None,
    recorded: int,
    expected: tuple[int | None, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = on(monkeypatch, process=process, allocated=allocated, recorded=recorded)
    assert (found.process_bytes, found.pool_bytes, found.untracked_bytes) == expected
    if process == 200:
        assert found.owned_bytes + found.untracked_bytes == found.process_bytes
