"""Files of states: whole or refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pannier.server.state_file import StateFile, read_states, read_tokens, write_states

FILE = StateFile("me", [5, 6, 7], [(2, b"two" * 50), (3, b"three" * 50)])


def test_it_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert write_states(path, FILE) == path.stat().st_size
    assert read_states(path) == FILE
    assert read_tokens(path) == FILE.tokens
    assert list(tmp_path.iterdir()) == [path], "nothing half-written stays"
    write_states(path, StateFile("me", [], []))
    assert read_states(path) == StateFile("me", [], [])


def test_any_changed_or_missing_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_states(path, FILE)
    data = path.read_bytes()
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(ValueError):
            read_states(path)
    for n in (0, 1, 50, len(data) - 1):
        path.write_bytes(data[:n])
        with pytest.raises(ValueError):
            read_states(path)


@pytest.mark.parametrize(
    "change",
    [
        {"n_tokens": -1},
        {"n_tokens": 1 << 61},
        {"n_tokens": 2.5},
        {"states": [[4, 150], [3, 250]]},
        {"states": [[2, -150], [3, 550]]},
        {"states": "none"},
        {"identity": 5},
        {"format": 1},
    ],
)
def test_a_first_line_that_makes_no_sense_is_refused(tmp_path: Path, change: object) -> None:
    path = tmp_path / "a"
    write_states(path, FILE)
    line, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(json.dumps({**json.loads(line), **change}).encode() + b"\n" + rest)  # type: ignore[dict-item]
    with pytest.raises(ValueError):
        read_states(path)


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    outside, link = tmp_path / "outside", tmp_path / "link"
    write_states(outside, FILE)
    before = outside.read_bytes()
    link.symlink_to(outside)
    with pytest.raises(OSError):
        read_states(link)
    write_states(link, StateFile("me", [9], []))
    assert outside.read_bytes() == before and not link.is_symlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError):
        read_states(tmp_path / "pipe")
