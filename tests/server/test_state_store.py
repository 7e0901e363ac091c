"""States in memory and in files."""

from __future__ import annotations

import os
import subprocess

import pytest

from pannier.errors import PannierError
from pannier.server.state_store import StateStore

TOKENS = (5, 6, 7)
STATE = bytes(range(256)) * 5


def test_a_state_in_memory_comes_back_and_can_be_forgotten():
    store = StateStore()
    store.put(1, TOKENS, STATE, to_disk=False)
    assert store.get(1) == STATE
    assert store.host_bytes == len(STATE)
    store.forget(1)
    assert store.host_bytes == 0
    with pytest.raises(PannierError):
        store.get(1)
    store.forget(1)


def test_a_file_outlives_its_store(tmp_path):
    store = StateStore(tmp_path, "model")
    store.put(1, TOKENS, STATE, to_disk=False)
    store.move_to_disk(1)
    assert store.host_bytes == 0
    assert store.get(1) == STATE
    later = StateStore(tmp_path, "model")
    [(tokens, path)] = later.found()
    assert tokens == list(TOKENS)
    later.adopt(9, path)
    assert later.get(9) == STATE
    later.forget(9)
    assert list(tmp_path.iterdir()) == []


def test_another_model_finds_nothing_and_touches_nothing(tmp_path):
    StateStore(tmp_path, "model").put(1, TOKENS, STATE, to_disk=True)
    assert list(StateStore(tmp_path, "other").found()) == []
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("at", [0, 10, 70, -1])
def test_a_damaged_file_is_never_a_state(tmp_path, at):
    store = StateStore(tmp_path, "model")
    store.put(1, TOKENS, STATE, to_disk=True)
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(PannierError):
        store.get(1)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_file_that_was_cut_is_deleted_when_found(tmp_path, keep):
    StateStore(tmp_path, "model").put(1, TOKENS, STATE, to_disk=True)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert list(StateStore(tmp_path, "model").found()) == []
    assert not path.exists()


def test_what_a_kill_left_half_written_is_swept(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    (tmp_path / f".state.{process.pid}.part").write_bytes(b"half")
    (tmp_path / f".state.{os.getppid()}.part").write_bytes(b"somebody is at it")
    StateStore(tmp_path, "model")
    assert [path.name for path in tmp_path.iterdir()] == [f".state.{os.getppid()}.part"]
