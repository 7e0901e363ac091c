"""Files of saved states: written beside their name and renamed, read only if they are whole.

A line of JSON, the tokens, the states, a digest of all three. Each state stands for so many of the
first tokens. `identity` tells states of one model, engine and cache layout from all others.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..part import part_of

PART = "state"
FORMAT = 2
DIGEST_BYTES = 16
MAX_HEADER_BYTES = 4096


@dataclass(frozen=True)
class StateFile:
    """What a file holds."""

    identity: str
    tokens: list[int]
    states: list[tuple[int, bytes]]
    """Tokens that a state stands for, and its bytes; ascending."""


def write_states(path: Path, file: StateFile) -> int:
    """Write a file; returns its bytes. What was there before is replaced, not followed. Raises
    OSError."""
    raw = array("i", file.tokens).tobytes()
    header = {
        "format": FORMAT,
        "identity": file.identity,
        "n_tokens": len(file.tokens),
        "states": [[n, len(state)] for n, state in file.states],
    }
    line = json.dumps(header).encode() + b"\n"
    data = [line, raw, *(state for _, state in file.states)]
    part = part_of(path.parent, PART)
    try:
        with part.open("wb") as out:
            for piece in (*data, digest(*data)):
                out.write(piece)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return sum(map(len, data)) + DIGEST_BYTES


def read_tokens(path: Path) -> list[int]:
    """The tokens alone, of a file that has its full length. Raises OSError, ValueError."""
    with _open(path) as file:
        line = file.readline(MAX_HEADER_BYTES)
        header = _header(line)
        if os.fstat(file.fileno()).st_size != _expected_bytes(line, header):
            raise ValueError("not a whole state file")
        return list(array("i", file.read(4 * header["n_tokens"])))


def read_states(path: Path) -> StateFile:
    """All of it, compared with its digest. Raises OSError, ValueError."""
    with _open(path) as file:
        line = file.readline(MAX_HEADER_BYTES)
        header = _header(line)
        if os.fstat(file.fileno()).st_size != _expected_bytes(line, header):
            raise ValueError(f"{path.name} is not a whole state file")
        raw = file.read(4 * header["n_tokens"])
        states = [(n, file.read(n_bytes)) for n, n_bytes in header["states"]]
        known = file.read(DIGEST_BYTES)
    if known != digest(line, raw, *(state for _, state in states)):
        raise ValueError(f"{path.name} does not fit its digest")
    return StateFile(header["identity"], list(array("i", raw)), states)


def digest(*parts: bytes) -> bytes:
    """Of all parts in a row."""
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        found.update(part)
    return found.digest()


def _open(path: Path) -> BinaryIO:
    """A plain file, not what a link points to, nor a pipe that nobody writes to."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path.name} is no plain file")
    return file


def _header(line: bytes) -> dict[str, Any]:
    """The first line, checked. Raises ValueError."""
    header = json.loads(line)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("not a state file of this version")
    n_tokens, states, identity = (header.get(key) for key in ("n_tokens", "states", "identity"))
    if not (_is_count(n_tokens) and isinstance(identity, str) and isinstance(states, list)):
        raise ValueError("a state file with a damaged first line")
    for state in states:
        if not (isinstance(state, list) and len(state) == 2 and all(map(_is_count, state))):
            raise ValueError("a state file with a damaged first line")
        if not 0 < state[0] <= n_tokens:
            raise ValueError("a state file whose states stand for other tokens than it has")
    return header


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _expected_bytes(line: bytes, header: dict[str, Any]) -> int:
    states: Sequence[Sequence[int]] = header["states"]
    n_states = sum(n_bytes for _, n_bytes in states)
    return len(line) + 4 * int(header["n_tokens"]) + n_states + DIGEST_BYTES
