"""The disk's rates, from files that are small here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pannier.bench import disk
from pannier.bench.disk import measure_disk
from pannier.errors import ArgumentError

MIB = 1 << 20


def test_a_folder_is_as_it_was(tmp_path: Path) -> None:
    found = measure_disk(tmp_path, 300_000, 0.2, n_readers=3, n_bytes=20 * MIB)
    assert min(found.sequential, found.blocks) > 0
    assert (found.block_bytes, found.n_readers) == (299_008, 3)
    assert list(tmp_path.iterdir()) == []


def test_every_block_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(os.urandom(10 * MIB + 77))
    reads: list[tuple[int, int]] = []
    read = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], at: int) -> int:
        reads.append((at, len(buffers[0])))
        return read(descriptor, buffers, at)

    monkeypatch.setattr(disk.os, "preadv", counted)
    found = measure_disk(path, MIB, 60.0, n_readers=4)
    assert found.folder == str(tmp_path)
    blocks = sorted(reads[2:])
    assert sorted(reads[:2]) == [(0, 8 * MIB), (8 * MIB, 2 * MIB)]
    assert blocks == [(i * MIB, MIB) for i in range(10)]
    assert reads[2:] != blocks, "in no order"
    assert path.stat().st_size == 10 * MIB + 77


def test_what_cannot_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short").write_bytes(b"x" * 100)
    with pytest.raises(ArgumentError, match="short is too short"):
        measure_disk(tmp_path / "short", MIB, 0.1)
    monkeypatch.setattr(disk, "_free_bytes", lambda folder: 3 << 30)
    with pytest.raises(ArgumentError, match="has 3072 MiB free, too little for a file of 2048 MiB"):
        measure_disk(tmp_path, MIB, 0.1, n_bytes=2 << 30)
    assert list(tmp_path.iterdir()) == [tmp_path / "short"]
